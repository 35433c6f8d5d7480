//! `gatepost policy simulate`: what do these policies say of these requests?

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use gatepost_iam::simulate::simulate as decide;
use serde_json::json;

use crate::exit::{Failure, WRONG};
use crate::lines::{Line, Lines, cannot_read, open};

/// Answers each line with a line, in order. A line that is wrong is answered with what is wrong, and the rest goes on.
pub(crate) fn simulate(file: Option<&Path>) -> Result<ExitCode, Failure> {
    let path = file.unwrap_or(Path::new("-"));
    let mut lines = Lines::new(open(path)?, LONGEST);
    let mut output = BufWriter::new(io::stdout().lock());
    let mut all_right = true;
    loop {
        let answer = match lines.next().map_err(|error| cannot_read(path, &error))? {
            None => break,
            Some(Line::Whole(line) | Line::Unended(line)) if line.trim_ascii().is_empty() => continue,
            Some(Line::Whole(line) | Line::Unended(line)) => answer(line),
            Some(Line::TooLong) => Err(wrong(&format!("the line is longer than {} MiB", LONGEST >> 20))),
        };
        all_right &= answer.is_ok();
        let (Ok(mut text) | Err(mut text)) = answer;
        text.push('\n');
        if let Written::NoMore = write(&mut output, &text, waits(lines.input()))? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    write(&mut output, "", true)?;
    Ok(if all_right { ExitCode::SUCCESS } else { ExitCode::from(WRONG) })
}

/// The longest line, in bytes.
const LONGEST: u64 = 16 << 20;

/// The answer to a line; the error is one too.
fn answer(line: &[u8]) -> Result<String, String> {
    let text = str::from_utf8(line).map_err(|_| wrong("the line is not UTF-8 text"))?;
    decide(text).map(|outcome| outcome.to_json()).map_err(|error| error.to_json())
}

/// The answer to a line that nothing is known of.
fn wrong(reason: &str) -> String {
    json!({ "id": null, "error": reason }).to_string()
}

/// Whether the next line may be long in coming: who waits for answers before asking on must get them.
fn waits(input: &BufReader<impl Read>) -> bool {
    !input.buffer().contains(&b'\n')
}

enum Written {
    Here,
    /// A reader that has closed its end has read what it wanted.
    NoMore,
}

fn write(output: &mut impl Write, text: &str, flush: bool) -> Result<Written, Failure> {
    let written = output.write_all(text.as_bytes()).and_then(|()| if flush { output.flush() } else { Ok(()) });
    match written {
        Ok(()) => Ok(Written::Here),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Written::NoMore),
        Err(error) => Err(Failure::CannotRun(format!("cannot write to standard output: {error}"))),
    }
}
