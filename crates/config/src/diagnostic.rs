//! What is wrong with a configuration, and where.

use crate::files::Files;
use crate::load::Loaded;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::render;
use crate::source::Sources;

/// A place in a file: what a model keeps of where it was written. Cheap to clone, and of use without [`Sources`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    file: Arc<str>,
    line: u32,
    column: u32,
    start: u32,
    end: u32,
}

impl Place {
    /// `line` and `column` count from one; `span` is in bytes from the start of the file.
    pub(crate) fn new(file: Arc<str>, line: usize, column: usize, span: Range<usize>) -> Self {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Self { file, line: number(line), column: number(column), start: number(span.start), end: number(span.end) }
    }

    /// The file's name as errors show it: `gatepost.toml`.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, counted from one.
    pub fn line(&self) -> usize {
        self.line as usize
    }

    /// The column in characters, counted from one.
    pub fn column(&self) -> usize {
        self.column as usize
    }

    /// The bytes of the file that are meant.
    pub fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// `gatepost.toml:12:8`.
    pub fn describe(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
    pub(crate) label: Option<String>,
    pub(crate) help: Option<String>,
    pub(crate) related: Vec<(Place, String)>,
}

impl Diagnostic {
    /// An error at a place. The message is a sentence that begins in lower case and has no full stop.
    pub fn error(place: &Place, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), ..Self::without_place(message) }
    }

    /// An error about a file that could not even be read.
    pub(crate) fn without_place(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), label: None, help: None, related: Vec::new() }
    }

    /// Says something right beside the underlined text.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Shows another place that has to do with it.
    #[must_use]
    pub fn with_related(mut self, place: &Place, text: impl Into<String>) -> Self {
        self.related.push((place.clone(), text.into()));
        self
    }

    /// Where it is, unless it is about a file that could not be read.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// What is wrong, in a sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it, if that is known.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

/// Everything that is wrong with a configuration, in the order of files and lines.
#[derive(Debug, Clone)]
pub struct Report {
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    files: Files,
}

impl Report {
    /// A report about a configuration that was read without an error, and is wrong all the same.
    pub fn new(loaded: Loaded, diagnostics: Vec<Diagnostic>) -> Self {
        Self::with_files(loaded.sources, diagnostics, loaded.files)
    }

    pub(crate) fn with_files(sources: Sources, mut diagnostics: Vec<Diagnostic>, files: Files) -> Self {
        // A problem without a place sorts first: nothing of its file was read.
        diagnostics.sort_by_key(|diagnostic| {
            let place = diagnostic.place.as_ref();
            place.map(|place| (sources.order(place), place.start, place.end))
        });
        Self { sources, diagnostics, files }
    }

    /// The problems.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Every file that was opened, or that it was tried to open, until loading was given up: when one of them changes,
    /// it is worth trying again.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The problems as people read them, for a terminal with or without colour.
    pub fn render(&self, color: bool) -> String {
        render::render(&self.sources, &self.diagnostics, color)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
