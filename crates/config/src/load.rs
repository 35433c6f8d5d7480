//! Reads a configuration file and everything that it names.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::decode::{Decode, Decoder, Field, Item, Located};
use crate::diagnostic::{Diagnostic, Place, Report};
use crate::file::File;
use crate::files::Files;
use crate::include;
use crate::model::Model;
use crate::pieces::{self, Pieces};
use crate::reading::Reading;
use crate::resolve::resolve;
use crate::source::{FileId, Sources, Span};
use crate::syntax;
use crate::text::{Glob, quoted};

/// A configuration without an error, and what it was read from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it means.
    pub model: Model,
    /// The texts it was read from, to say where something in the model was written.
    pub sources: Sources,
    /// Every file that was read. When one of them changes, the configuration may have changed.
    pub files: Files,
}

/// Reads the configuration in the file at `path`, and everything that it names.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    Loader::default().load(path)
}

/// The same as if the file at `replaced`, a path as of [`Files::paths`], held `text`: what a change would lead to.
///
/// # Errors
/// Everything that would be wrong with it.
pub fn load_as_if(path: &Path, replaced: &Path, text: &str) -> Result<Loaded, Report> {
    let loader = Loader { reading: Reading::as_if(replaced, text), ..Loader::default() };
    loader.load(path)
}

/// Reads the configuration in `text`. Errors call it `name`; paths in it are relative to `directory`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_text(name: &str, text: &str, directory: &Path) -> Result<Loaded, Report> {
    let mut loader = Loader::default();
    loader.read_file(name, text, directory);
    loader.finish()
}

#[derive(Default)]
struct Loader {
    reading: Reading,
    files: Vec<File>,
    /// Every file that was opened by its canonical path, and where it was included.
    opened: HashMap<PathBuf, Option<Place>>,
    /// Whether a part of the configuration could not be read at all.
    is_incomplete: bool,
}

impl Loader {
    fn load(mut self, path: &Path) -> Result<Loaded, Report> {
        match self.reading.read(path).and_then(into_text) {
            Ok(text) => {
                let directory = path.parent().unwrap_or(Path::new(""));
                self.remember(path, None);
                self.read_file(&path.to_string_lossy(), text, directory);
            }
            Err(error) => {
                let message = format!("cannot read {}: {}", path.display(), reason(&error));
                let mut diagnostic = Diagnostic::without_place(message);
                if error.kind() == io::ErrorKind::NotFound {
                    diagnostic = diagnostic
                        .with_help("name the file to use; `examples/demo/gatepost.toml` is one to begin with");
                }
                self.reading.report(diagnostic);
            }
        }
        self.finish()
    }

    fn read_file(&mut self, name: &str, text: impl Into<Arc<str>>, directory: &Path) {
        let Some(file) = self.reading.add(name, text, directory) else {
            let message = format!("cannot read {name}: it is longer than 4 GiB");
            self.reading.report(Diagnostic::without_place(message));
            return;
        };
        let decoded = self.decode_in_pieces(file).unwrap_or_else(|| self.decode(file).into_iter().collect());
        let mut globs = Vec::new();
        for part in &decoded {
            match &part.include {
                Field::Absent => {}
                Field::Broken => self.is_incomplete = true,
                Field::Given(given) => {
                    self.is_incomplete |= given.value.broken;
                    globs.extend(given.value.items.iter().cloned());
                }
            }
        }
        self.files.extend(decoded);
        for glob in globs {
            self.include(&glob, directory);
        }
    }

    /// Decodes a long file in pieces, unless its TOML is broken: then it must be seen whole.
    fn decode_in_pieces(&mut self, file: FileId) -> Option<Vec<File>> {
        let source = Arc::clone(self.reading.source(file));
        let Pieces { rest, callers } = pieces::cut(source.text())?;
        let found_before = self.reading.count();
        let mut decoded = vec![self.decode_table(file, 0, syntax::parse_plain(&rest)?)?];
        drop(rest);
        for piece in callers {
            let part = source.text().get(piece.clone()).and_then(syntax::parse_plain);
            let Some(part) = part.and_then(|table| self.decode_table(file, piece.start, table)) else {
                self.reading.forget_since(found_before, |_| true);
                return None;
            };
            decoded.push(part);
        }
        Some(decoded)
    }

    /// Decodes a table whose text begins at `start` of its file.
    fn decode_table(&mut self, file: FileId, start: usize, table: DeTable<'_>) -> Option<File> {
        let root = DeValue::Table(table);
        let span = Span::new(file, start..start);
        File::decode(Item { value: &root, span, name: span }, &mut Decoder::new(file, start, &mut self.reading))
    }

    /// Decodes a file that was read. Where its TOML is broken, only that is reported: what follows from
    /// a line that could not be read is anyone's guess.
    fn decode(&mut self, file: FileId) -> Option<File> {
        let source = self.reading.source(file).clone();
        let (table, mut faults) = syntax::parse(&source);
        for problem in std::mem::take(&mut faults.problems) {
            self.reading.report(problem);
        }
        self.is_incomplete |= !faults.is_complete();
        if !faults.is_in_place() {
            return None;
        }
        let found_before = self.reading.count();
        let decoded = self.decode_table(file, 0, table);
        self.reading.forget_since(found_before, |span| faults.is_broken_within(&source, &span));
        decoded
    }

    fn include(&mut self, glob: &Located<Glob>, directory: &Path) {
        let Glob(written) = &glob.value;
        let expansion = match include::expand(directory, written) {
            Ok(expansion) => expansion,
            Err((path, error)) => {
                self.reading.depends_on(&path);
                self.cannot_include(glob, &path, &error);
                return;
            }
        };
        for path in &expansion.directories {
            self.reading.depends_on(path);
        }
        if expansion.files.is_empty() {
            self.includes_nothing(glob, &expansion.directories);
        }
        for path in &expansion.files {
            self.include_file(glob, path);
        }
    }

    fn includes_nothing(&mut self, glob: &Located<Glob>, directories: &[PathBuf]) {
        self.is_incomplete = true;
        let error = self.reading.error(glob.span, format!("no file matches {}", quoted(&glob.value.0)));
        let looked_in = match directories.last() {
            Some(directory) if directory != Path::new(".") => quoted(&directory.to_string_lossy()),
            Some(_) | None => "the working directory".to_owned(),
        };
        let others = match directories.len() {
            0 | 1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let help = format!("looked in {looked_in}{others}; paths are relative to the file that names them");
        self.reading.report(error.with_help(help));
    }

    fn include_file(&mut self, glob: &Located<Glob>, path: &Path) {
        let place = self.reading.place(glob.span);
        let text = match self.reading.read(path).and_then(into_text) {
            Ok(text) => text,
            Err(error) => return self.cannot_include(glob, path, &error),
        };
        if let Some(earlier) = self.remember(path, Some(place)) {
            self.included_again(glob, path, earlier);
            return;
        }
        let directory = path.parent().unwrap_or(Path::new(""));
        self.read_file(&path.to_string_lossy(), text, directory);
    }

    /// Remembers where a file was included. Returns where it had been before, if it had: a place, or
    /// nothing for the file that everything began with.
    fn remember(&mut self, path: &Path, place: Option<Place>) -> Option<Option<Place>> {
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(earlier) = self.opened.get(&canonical) {
            return Some(earlier.clone());
        }
        self.opened.insert(canonical, place);
        None
    }

    fn included_again(&mut self, glob: &Located<Glob>, path: &Path, earlier: Option<Place>) {
        let name = quoted(&path.to_string_lossy());
        self.reading.report(match earlier {
            Some(place) => self
                .reading
                .error(glob.span, format!("{name} is included twice"))
                .with_related(&place, "first included here"),
            None => self
                .reading
                .error(glob.span, format!("{name} includes itself"))
                .with_help("it is where the configuration begins; leave it out here"),
        });
    }

    fn cannot_include(&mut self, glob: &Located<Glob>, path: &Path, error: &io::Error) {
        self.is_incomplete = true;
        let name = quoted(&path.to_string_lossy());
        let message = format!("cannot read {name}: {}", reason(error));
        let mut diagnostic = self.reading.error(glob.span, message);
        if error.kind() == io::ErrorKind::NotFound {
            diagnostic = diagnostic.with_help("paths are relative to the file that names them");
        }
        self.reading.report(diagnostic);
    }

    /// Resolves what was read. A part that is missing would make every reference to it look wrong, so
    /// then there is nothing to resolve.
    fn finish(mut self) -> Result<Loaded, Report> {
        let model =
            if self.is_incomplete || self.files.is_empty() { None } else { resolve(self.files, &mut self.reading) };
        let (sources, files) = self.reading.finish()?;
        match model {
            Some(model) => Ok(Loaded { model, sources, files }),
            // Whoever returns nothing has said why.
            None => Err(Report::with_files(sources, Vec::new(), files)),
        }
    }
}

/// The text of a file.
pub(crate) fn into_text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// Why a file cannot be read, without the number that the system has for it.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
