//! Numbers into words: medians, ratios, tables in Markdown.

use std::fmt::Write;

/// Values of one quantity, one a round.
#[derive(Clone, Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Samples {
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    /// Median, and least and greatest in parentheses: `1.02 (0.99–1.04)`.
    pub(crate) fn spread(&self, decimals: usize) -> String {
        let sorted = self.sorted();
        let (Some(least), Some(greatest)) = (sorted.first(), sorted.last()) else {
            return "–".to_owned();
        };
        format!("{:.decimals$} ({least:.decimals$}–{greatest:.decimals$})", self.median())
    }

    /// Each value divided by the other's of the same round. What makes a round slow makes it slow
    /// for everybody, so these scatter less than the values do.
    pub(crate) fn over(&self, other: &Self) -> Self {
        self.0.iter().zip(&other.0).map(|(value, other)| value / other).collect()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// A table in Markdown: the first column to the left, the others to the right.
pub(crate) fn table(title: &str, header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count(), 4]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let mut line = String::from("|");
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = match column {
                0 => write!(line, " {cell:<width$} |"),
                _ => write!(line, " {cell:>width$} |"),
            };
        }
        line + "\n"
    };
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    let rule = |(column, width): (usize, &usize)| match column {
        0 => "-".repeat(*width),
        _ => format!("{}:", "-".repeat(width - 1)),
    };
    let rules: Vec<String> = widths.iter().enumerate().map(rule).collect();
    let body: String = rows.iter().map(|row| line(row)).collect();
    format!("### {title}\n\n{}{}{body}", line(&header), line(&rules))
}

/// A whole number with its thousands apart: `100,000`.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A line about what happens now, for who is waiting; the results go elsewhere.
pub(crate) fn progress(line: &str) {
    eprintln!("… {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let a = Samples(vec![3.0, 1.0, 2.0]);
        let b = Samples(vec![6.0, 1.0, 8.0]);
        assert_eq!(a.spread(1), "2.0 (1.0–3.0)");
        assert_eq!(a.over(&b).spread(2), "0.50 (0.25–1.00)");
        assert_eq!(Samples(vec![1.0, 2.0]).median(), 1.5);
        assert_eq!(Samples::default().spread(1), "–");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(7.0), "7");
        assert_eq!(thousands(100_000.4), "100,000");
    }

    #[test]
    fn tables_are_aligned() {
        let text = table("T", &["a", "b"], &[vec!["x".into(), "10.5".into()]]);
        assert_eq!(text, "### T\n\n| a    |    b |\n| ---- | ---: |\n| x    | 10.5 |\n");
    }
}
