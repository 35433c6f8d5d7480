//! Policy documents: AWS resource policies and identity policies, as they are.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatepost_iam::{ApiArn, Policy, PolicyError, Standing};

use crate::decode::{Field, Given};
use crate::load::{into_text, reason};
use crate::model::{PolicyDocument, Server};
use crate::reading::Reading;
use crate::resolve::server::{DEFAULT_ACCOUNT, DEFAULT_REGION};
use crate::source::{FileId, Span};
use crate::text::{FileReference, quoted};

/// What policy documents are about, and those that were read: several APIs and routes may name one file.
pub(super) struct Documents {
    region: Arc<str>,
    account: Arc<str>,
    files: RefCell<HashMap<PathBuf, Option<FileId>>>,
    /// The identity policies: every caller that names one file shares one.
    identities: RefCell<HashMap<FileId, Option<Arc<PolicyDocument>>>>,
    /// Files whose mistakes have been reported.
    reported: RefCell<HashSet<FileId>>,
}

impl Documents {
    /// For the APIs of this server; of one that is broken, as if it had said nothing.
    pub(super) fn of(server: Option<&Server>) -> Self {
        Self {
            region: server.map_or_else(|| DEFAULT_REGION.into(), |server| server.region.clone()),
            account: server.map_or_else(|| DEFAULT_ACCOUNT.into(), |server| server.account.clone()),
            files: RefCell::default(),
            identities: RefCell::default(),
            reported: RefCell::default(),
        }
    }

    /// What policies call the user of this name.
    pub(super) fn user(&self, name: &str) -> String {
        format!("arn:{PARTITION}:iam::{}:user/{name}", self.account)
    }

    /// Reads the resource policy that `field` names, for the API with this id.
    pub(super) fn resolve(
        &self,
        field: &Field<FileReference>,
        api: &str,
        standing: Standing,
        reading: &mut Reading,
    ) -> Field<Arc<PolicyDocument>> {
        let given = match field {
            Field::Absent => return Field::Absent,
            Field::Broken => return Field::Broken,
            Field::Given(given) => given,
        };
        match self.resource(given, api, standing, reading) {
            Some(document) => Field::Given(Given { value: Arc::new(document), span: given.span, key: given.key }),
            None => Field::Broken,
        }
    }

    /// Reads the identity policy that is named.
    pub(super) fn identity(&self, named: &Given<FileReference>, reading: &mut Reading) -> Option<Arc<PolicyDocument>> {
        let file = self.file(named, reading)?;
        if let Some(known) = self.identities.borrow().get(&file) {
            return known.clone();
        }
        let text = Arc::clone(reading.source(file));
        let read = self.checked(Policy::identity(text.text()), file, named, reading);
        let read = read.map(|policy| Arc::new(document(policy, Standing::BesideIdentities, file, named, reading)));
        self.identities.borrow_mut().insert(file, read.clone());
        read
    }

    fn resource(
        &self,
        named: &Given<FileReference>,
        api: &str,
        standing: Standing,
        reading: &mut Reading,
    ) -> Option<PolicyDocument> {
        let file = self.file(named, reading)?;
        let text = Arc::clone(reading.source(file));
        let arn = ApiArn::new(PARTITION, &self.region, &self.account, api);
        let policy = self.checked(Policy::resource(text.text(), &arn), file, named, reading)?;
        Some(document(policy, standing, file, named, reading))
    }

    /// The text of a document.
    fn file(&self, named: &Given<FileReference>, reading: &mut Reading) -> Option<FileId> {
        let path = reading.path(&named.value.0, named.span);
        let known = self.files.borrow().get(&path).copied();
        known.unwrap_or_else(|| {
            let file = read(&path, named.span, reading);
            self.files.borrow_mut().insert(path, file);
            file
        })
    }

    /// A policy that was read, unless it is none; that is reported once for each file.
    fn checked(
        &self,
        read: Result<Policy, PolicyError>,
        file: FileId,
        named: &Given<FileReference>,
        reading: &mut Reading,
    ) -> Option<Policy> {
        match read {
            Ok(policy) => Some(policy),
            Err(error) => {
                if self.reported.borrow_mut().insert(file) {
                    report(&error, file, named.key, reading);
                }
                None
            }
        }
    }
}

/// What every ARN begins with, after `arn:`.
const PARTITION: &str = "aws";

/// Takes in the text of a document.
fn read(path: &Path, named: Span, reading: &mut Reading) -> Option<FileId> {
    let name = path.to_string_lossy();
    let text = match reading.read(path).and_then(into_text) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read the policy in {}: {}", quoted(&name), reason(&error));
            reading.report(reading.error(named, message));
            return None;
        }
    };
    let directory = path.parent().unwrap_or(Path::new(""));
    let file = reading.add(&name, &text, directory);
    if file.is_none() {
        reading.report(reading.error(named, format!("{} is longer than 4 GiB", quoted(&name))));
    }
    file
}

/// Reports everything that is wrong with a document, where it is wrong.
fn report(error: &PolicyError, file: FileId, named: Span, reading: &mut Reading) {
    let named = reading.place(named);
    for problem in error.problems() {
        let error = reading.error(Span::new(file, problem.at()), problem.message());
        reading.report(error.with_related(&named, "the policy is named here").with_help(problem.help()));
    }
}

fn document(
    policy: Policy,
    standing: Standing,
    file: FileId,
    named: &Given<FileReference>,
    reading: &Reading,
) -> PolicyDocument {
    let place = |at| reading.place(Span::new(file, at));
    let lints = policy.lints(standing);
    PolicyDocument {
        statements: policy.statements().iter().map(|statement| place(statement.at())).collect(),
        doubts: lints.iter().map(|lint| (place(lint.at.clone()), lint.to_string())).collect(),
        policy,
        file: reading.source(file).name().into(),
        place: reading.place(named.key),
    }
}
