//! Lines of what somebody else wrote: of any number, but not of any length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::exit::Failure;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'l> {
    Whole(&'l [u8]),
    /// The last one, which has no end.
    Unended(&'l [u8]),
    /// Longer than is read; what it said is gone.
    TooLong,
}

/// Reads line after line.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// In bytes.
    longest: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R, longest: u64) -> Self {
        Self { input, line: Vec::new(), longest }
    }

    /// The next line; none at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let longest = self.longest;
        let read = (&mut self.input).take(longest.saturating_add(1)).read_until(b'\n', &mut self.line)?;
        Ok(match self.line.split_last() {
            None => None,
            Some((b'\n', line)) => Some(Line::Whole(line.strip_suffix(b"\r").unwrap_or(line))),
            Some(_) if read as u64 <= longest => Some(Line::Unended(&self.line)),
            Some(_) => {
                self.input.skip_until(b'\n')?;
                Some(Line::TooLong)
            }
        })
    }

    pub(crate) fn input(&self) -> &R {
        &self.input
    }
}

/// What a command reads: a file, or standard input for `-`.
pub(crate) fn open(path: &Path) -> Result<BufReader<Box<dyn Read>>, Failure> {
    /// Bytes asked for at once.
    const BLOCK: usize = 64 * 1024;
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| cannot_read(path, &error))?)
    };
    Ok(BufReader::with_capacity(BLOCK, input))
}

pub(crate) fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or(&text);
    Failure::Input(match path.to_str() {
        Some("-") => format!("cannot read standard input: {reason}"),
        Some(_) | None => format!("cannot read {}: {reason}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, longest: u64) -> Vec<String> {
        let mut lines = Lines::new(BufReader::with_capacity(3, text.as_bytes()), longest);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(match line {
                Line::Whole(line) => str::from_utf8(line).unwrap().to_owned(),
                Line::Unended(line) => format!("{}…", str::from_utf8(line).unwrap()),
                Line::TooLong => "(too long)".to_owned(),
            });
        }
        found
    }

    #[test]
    fn a_line_ends_with_its_end_and_has_a_length() {
        for (text, expected) in [
            ("", &[][..]),
            ("\n", &[""]),
            ("abc\r\n\nde", &["abc", "", "de…"]),
            ("abcde\n", &["abcde"]),
            ("abcdef\nabcde", &["(too long)", "abcde…"]),
            ("abcdefghijkl", &["(too long)"]),
            ("abcdef", &["(too long)"]),
        ] {
            assert_eq!(lines(text, 5), expected, "{text:?}");
        }
    }
}
