//! What has been read so far, and what was found wrong with it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use crate::diagnostic::{Diagnostic, Place, Report};
use crate::files::Files;
use crate::source::{FileId, Source, Sources, Span};

/// What has been read so far, and what was found wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    sources: Sources,
    /// For each of `sources`, the directory that paths in it are relative to.
    directories: Vec<PathBuf>,
    diagnostics: Vec<Diagnostic>,
    /// How many more problems there are than anybody reads.
    untold: usize,
    /// Everything that was opened, or that it was tried to open.
    files: Files,
    /// A file that is read as if it held this.
    replaced: Option<(PathBuf, String)>,
}

/// What makes one of a million tables wrong may make all of them wrong.
const MOST_PROBLEMS: usize = 1_000;

impl Reading {
    /// One that reads the file at `path` as if it held `text`.
    pub(crate) fn as_if(path: &Path, text: &str) -> Self {
        Self { replaced: Some((path.to_owned(), text.to_owned())), ..Self::default() }
    }

    /// Takes in a text that was read; paths in it are relative to `directory`.
    pub(crate) fn add(&mut self, name: &str, text: impl Into<Arc<str>>, directory: &Path) -> Option<FileId> {
        let file = self.sources.add(name, text)?;
        self.directories.push(directory.to_owned());
        Some(file)
    }

    /// Reads a file, and remembers that the configuration depends on it.
    pub(crate) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let contents = match &self.replaced {
            Some((replaced, text)) if replaced == path => Ok(text.clone().into_bytes()),
            Some(_) | None => fs::read(path),
        };
        self.files.read(path, contents.as_deref().ok());
        contents
    }

    /// Remembers that the configuration depends on a file or directory.
    pub(crate) fn depends_on(&mut self, path: &Path) {
        self.files.looked_at(path);
    }

    /// A path that was written at `span`, as it is to be opened.
    pub(crate) fn path(&self, written: &str, span: Span) -> PathBuf {
        self.directories[span.file.index()].join(written)
    }

    pub(crate) fn source(&self, file: FileId) -> &Arc<Source> {
        self.sources.source(file)
    }

    pub(crate) fn text(&self, file: FileId) -> &str {
        self.source(file).text()
    }

    pub(crate) fn place(&self, span: Span) -> Place {
        self.sources.place(span)
    }

    /// Where everything begins: for what is missing altogether.
    pub(crate) fn start(&self) -> Span {
        Span::new(FileId::FIRST, 0..0)
    }

    /// The part of a string at `span` that reads `text`, `at` bytes in; all of it if the string was not
    /// written as it reads.
    pub(crate) fn part(&self, span: Span, at: usize, text: &str) -> Span {
        let start = span.range().start + 1 + at;
        let range = start..start + text.len();
        let is_literal = self.text(span.file).get(range.clone()) == Some(text);
        if is_literal { Span::new(span.file, range) } else { span }
    }

    pub(crate) fn hide(&mut self, span: Span) {
        self.sources.hide(span);
    }

    /// An error at `span`, to be given to [`Reading::report`].
    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&self.place(span), message)
    }

    /// Takes in a problem. Of very many, most are only counted.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < MOST_PROBLEMS {
            self.diagnostics.push(diagnostic);
        } else {
            self.untold += 1;
        }
    }

    /// How many problems have been reported.
    pub(crate) fn count(&self) -> usize {
        self.diagnostics.len()
    }

    /// Takes back problems, of those after the first `count`, whose place `follows` from another.
    pub(crate) fn forget_since(&mut self, count: usize, follows: impl Fn(Range<usize>) -> bool) {
        let later = self.diagnostics.split_off(count);
        let kept =
            later.into_iter().filter(|diagnostic| !diagnostic.place().is_some_and(|place| follows(place.span())));
        self.diagnostics.extend(kept);
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.diagnostics.is_empty()
    }

    /// What was read, when nothing was wrong with it.
    pub(crate) fn finish(mut self) -> Result<(Sources, Files), Report> {
        if self.diagnostics.is_empty() {
            Ok((self.sources, self.files))
        } else {
            if self.untold > 0 {
                let message = format!("there are {} more problems than are shown here", self.untold);
                self.diagnostics.push(Diagnostic::without_place(message));
            }
            Err(Report::with_files(self.sources, self.diagnostics, self.files))
        }
    }
}
