//! The texts that a configuration was read from, and places in them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::Place;

/// The texts that a configuration was read from. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sources {
    files: Vec<Arc<Source>>,
    by_name: HashMap<Arc<str>, usize>,
}

impl Sources {
    /// Takes a text in. A name is taken in once; the loader sees to that.
    ///
    /// Returns nothing when the text is too long to point into.
    pub(crate) fn add(&mut self, name: &str, text: impl Into<Arc<str>>) -> Option<FileId> {
        let text = text.into();
        u32::try_from(text.len()).ok()?;
        let file = FileId(u32::try_from(self.files.len()).ok()?);
        let source = Arc::new(Source::new(name, text));
        self.by_name.insert(source.name.clone(), self.files.len());
        self.files.push(source);
        Some(file)
    }

    /// Makes the text under `span` unreadable wherever this is rendered: it may be a secret.
    pub(crate) fn hide(&mut self, span: Span) {
        if let Some(source) = self.files.get_mut(span.file.index()) {
            Arc::make_mut(source).hidden.push(span.range());
        }
    }

    pub(crate) fn source(&self, file: FileId) -> &Arc<Source> {
        &self.files[file.index()]
    }

    pub(crate) fn place(&self, span: Span) -> Place {
        self.source(span.file).place(span.range())
    }

    /// The text that a place points into, unless it is not one of these.
    pub(crate) fn of(&self, place: &Place) -> Option<&Source> {
        self.files.get(self.order(place)?).map(Arc::as_ref)
    }

    /// When the text that `place` points into was read: 0 is first.
    pub(crate) fn order(&self, place: &Place) -> Option<usize> {
        self.by_name.get(place.file()).copied()
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.files.iter().map(|source| &source.name)).finish()
    }
}

/// One text of [`Sources`].
#[derive(Clone)]
pub(crate) struct Source {
    name: Arc<str>,
    text: Arc<str>,
    /// Where each line begins.
    lines: Vec<u32>,
    /// What is not to be shown.
    hidden: Vec<Range<usize>>,
}

impl Source {
    /// Of a text that [`Sources::add`] has measured.
    fn new(name: &str, text: Arc<str>) -> Self {
        let line_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = line_ends.filter_map(|(at, _)| u32::try_from(at + 1).ok());
        let lines = std::iter::once(0).chain(starts).collect();
        Self { name: name.into(), text, lines, hidden: Vec::new() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        let line = self.line_of(span.start);
        let before = &self.text[self.start_of(line)..span.start];
        Place::new(self.name.clone(), line + 1, before.chars().count() + 1, span)
    }

    /// The line (from 0) that holds the byte at `offset`.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start as usize <= offset).saturating_sub(1)
    }

    fn start_of(&self, line: usize) -> usize {
        self.lines[line] as usize
    }

    /// Where a line (from 0) ends, its line break left out.
    pub(crate) fn end_of(&self, line: usize) -> usize {
        self.lines.get(line + 1).map_or(self.text.len(), |next| *next as usize - 1)
    }

    /// The lines `first..=last` (from 0) as they may be shown, and where they begin in the text.
    pub(crate) fn excerpt(&self, first: usize, last: usize) -> (usize, String) {
        let shown = self.start_of(first)..self.end_of(last);
        let mut excerpt = self.text[shown.clone()].to_owned();
        for hidden in &self.hidden {
            let start = hidden.start.clamp(shown.start, shown.end) - shown.start;
            let end = hidden.end.clamp(shown.start, shown.end) - shown.start;
            excerpt.replace_range(start..end, &"*".repeat(end - start));
        }
        // Line breaks of another kind are of no interest to whoever reads this.
        (shown.start, excerpt.replace('\r', " "))
    }
}

/// Which text of [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId(u32);

impl FileId {
    /// The text that was read first.
    pub(crate) const FIRST: Self = Self(0);

    pub(crate) fn index(self) -> usize {
        // A file's number fits: a process cannot hold 2³² texts on a machine whose pointers are shorter.
        self.0 as usize
    }
}

/// A piece of one text: a [`Place`] that costs nothing to keep, but needs [`Sources`] to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) file: FileId,
    start: u32,
    end: u32,
}

impl Span {
    /// `range` must lie in the file, whose length [`Sources::add`] has checked.
    pub(crate) fn new(file: FileId, range: Range<usize>) -> Self {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { file, start: offset(range.start), end: offset(range.end) }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}
