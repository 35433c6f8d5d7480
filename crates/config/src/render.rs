//! Problems as people read them: the sentence, the place, the text underlined, and what to do.

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostic::Diagnostic;
use crate::source::{Source, Sources};

/// Renders every diagnostic, each followed by an empty line except the last.
pub(crate) fn render(sources: &Sources, diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let rendered: Vec<String> =
        diagnostics.iter().map(|diagnostic| render_one(sources, diagnostic, &renderer)).collect();
    rendered.join("\n\n") + "\n"
}

fn render_one(sources: &Sources, diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let mut group = Group::with_title(Level::ERROR.primary_title(diagnostic.message.as_str()));
    for window in windows(sources, diagnostic) {
        group = group.element(window.snippet());
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// Lines of one source that are shown together.
struct Window<'a> {
    source: &'a Source,
    first: usize,
    last: usize,
    marks: Vec<Mark<'a>>,
}

/// An underlined piece of text.
struct Mark<'a> {
    span: Range<usize>,
    kind: AnnotationKind,
    label: Option<&'a str>,
}

/// How many lines apart two marks may be and still share a window.
const NEAR: usize = 8;

/// The windows of a diagnostic, its own place first. A mark far from the others gets a window of its own, so that what
/// is rendered does not grow with the distance.
fn windows<'a>(sources: &'a Sources, diagnostic: &'a Diagnostic) -> Vec<Window<'a>> {
    let own = diagnostic.place.iter().map(|place| (place, AnnotationKind::Primary, diagnostic.label.as_deref()));
    let related = diagnostic.related.iter().map(|(place, text)| (place, AnnotationKind::Context, Some(text.as_str())));
    let mut windows: Vec<Window<'a>> = Vec::new();
    for (place, kind, label) in own.chain(related) {
        let Some(source) = sources.of(place) else { continue };
        let line = source.line_of(place.span().start);
        // Of what spans lines, only the beginning is underlined: it may be very long.
        let end = place.span().end.min(source.end_of(line));
        let mark = Mark { span: place.span().start..end, kind, label };
        match windows.iter_mut().find(|window| window.is_near(source, line)) {
            Some(window) => window.extend(line, mark),
            None => windows.push(Window { source, first: line, last: line, marks: vec![mark] }),
        }
    }
    windows
}

impl<'a> Window<'a> {
    fn is_near(&self, source: &Source, line: usize) -> bool {
        std::ptr::eq(self.source, source) && line <= self.last + NEAR && self.first <= line + NEAR
    }

    fn extend(&mut self, line: usize, mark: Mark<'a>) {
        self.first = self.first.min(line);
        self.last = self.last.max(line);
        self.marks.push(mark);
    }

    fn snippet(&self) -> Snippet<'a, Annotation<'a>> {
        let (start, text) = self.source.excerpt(self.first, self.last);
        let annotations = self
            .marks
            .iter()
            .map(|mark| mark.kind.span(mark.span.start - start..mark.span.end - start).label(mark.label));
        Snippet::source(text)
            .path(self.source.name())
            .line_start(self.first + 1)
            .annotations(annotations.collect::<Vec<_>>())
    }
}
