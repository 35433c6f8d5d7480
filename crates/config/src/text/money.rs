//! Amounts of money: `0.0001 USD`.

use crate::model::Money;
use crate::text::{Text, TextError, quoted};

/// An amount and its currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) money: Money,
    /// Three capitals (ISO 4217).
    pub(crate) currency: Box<str>,
}

impl Text for Amount {
    const WHAT: &'static str = "an amount of money such as \"10 USD\"";
    const PATTERN: &'static str = "^[0-9]+(\\.[0-9]{1,9})? [A-Z]{3}$";

    fn parse(text: &str) -> Result<Self, TextError> {
        let wrong = || TextError::new(format!("{} is not an amount of money", quoted(text)));
        let Some((number, currency)) = text.split_once(' ') else {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let with_currency = format!("give it a currency, such as `{text} USD`");
            return Err(wrong().with_help(if is_number { &with_currency } else { LOOKS }));
        };
        if !(currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase())) {
            let start = text.len() - currency.len();
            let error = TextError::new(format!("{} is not a currency", quoted(currency))).at(start..text.len());
            return Err(error.with_help("a currency is three capitals, such as `USD` or `EUR`"));
        }
        let (whole, decimals) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
        let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !decimals.is_none_or(is_digits) {
            return Err(wrong().with_help(LOOKS).at(0..number.len()));
        }
        let decimals = decimals.unwrap_or_default();
        if decimals.len() > DECIMALS {
            let error = TextError::new("this is finer than a billionth").at(0..number.len());
            return Err(error.with_help("write at most nine decimals"));
        }
        let Some(money) = billionths(whole, decimals) else {
            let error = TextError::new(format!("{} is too much to be counted", quoted(text)));
            return Err(error.with_help("an amount is at most `18446744073`"));
        };
        Ok(Self { money, currency: currency.into() })
    }
}

const LOOKS: &str = "an amount is a number and a currency: `10 USD`, `0.0001 USD`";

/// As many as a billionth has.
const DECIMALS: usize = 9;

fn billionths(whole: &str, decimals: &str) -> Option<Money> {
    let whole = whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
    let rest: u64 = format!("{decimals:0<DECIMALS$}").parse().ok()?;
    whole.checked_add(rest).map(Money)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::{complaints, parse_all};

    #[test]
    fn amounts_are_counted_in_billionths() {
        let amounts = parse_all::<Amount>(&["10 USD", "0.0001 USD", "0.09 EUR", "0.000000001 USD", "18446744073 USD"]);
        let money: Vec<u64> = amounts.iter().map(|amount| amount.money.0).collect();
        assert_eq!(money, [10_000_000_000, 100_000, 90_000_000, 1, 18_446_744_073_000_000_000]);
        assert_eq!(&*amounts[2].currency, "EUR");
        let shown: Vec<String> = amounts.iter().map(|amount| amount.money.to_string()).collect();
        assert_eq!(shown, ["10", "0.0001", "0.09", "0.000000001", "18446744073"]);
    }

    #[test]
    fn what_is_no_amount() {
        insta::assert_snapshot!(complaints::<Amount>(&[
            "",
            "10",
            "$10",
            "10USD",
            "10 usd",
            "10 dollars",
            "0,5 USD",
            ".5 USD",
            "5. USD",
            "-1 USD",
            "1e3 USD",
            "0.0000000001 USD",
            "18446744074 USD",
            "99999999999999999999 USD",
        ]));
    }
}
