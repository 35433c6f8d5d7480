//! Usage as CSV (RFC 4180).

use std::borrow::Cow;

use crate::usage::source::UsageRow;

/// The names of the columns.
pub(crate) const HEADER: &str = "day,caller,api,route,admitted,refused,bytes_out\r\n";

/// A line for each row.
pub(crate) fn lines(rows: &[UsageRow]) -> String {
    rows.iter().map(line).collect()
}

fn line(row: &UsageRow) -> String {
    let UsageRow { day, caller, api, route, admitted, refused, bytes_out } = row;
    let [caller, api, route] = [caller, api, route].map(|text| cell(text));
    format!("{day},{caller},{api},{route},{admitted},{refused},{bytes_out}\r\n")
}

/// Names begin with a letter and routes with a letter or `$`, so no spreadsheet takes one for a formula. What begins
/// otherwise was not counted by us, and is made text.
fn cell(text: &str) -> Cow<'_, str> {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    if is_formula {
        return format!("\"'{}\"", text.replace('"', "\"\"")).into();
    }
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_text_whatever_is_in_it() {
        for (text, written) in [
            ("GET /orders", "GET /orders"),
            ("$default", "$default"),
            ("GET,POST /a", "\"GET,POST /a\""),
            ("GET /a\"b", "\"GET /a\"\"b\""),
            ("=1+1", "\"'=1+1\""),
            ("@sum,\"", "\"'@sum,\"\"\""),
            ("-1", "\"'-1\""),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
