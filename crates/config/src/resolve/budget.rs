//! `budget`: what requests may cost.

use crate::decode::{Field, Given};
use crate::file::BudgetTable;
use crate::model::{Budget, Money};
use crate::reading::Reading;
use crate::source::Span;
use crate::text::Amount;

/// What is written in `table`, whose key is at `key`.
pub(super) fn budget(table: &BudgetTable, key: Span, reading: &mut Reading) -> Option<Budget> {
    let BudgetTable { limit, per, per_request, per_gb, unknown } = table;
    if per_request.is_absent() && per_gb.is_absent() && unknown.is_empty() {
        let error = reading.error(key, "this budget does not say what anything costs");
        reading.report(error.with_help("add `per_request = \"0.0001 USD\"` or `per_gb = \"0.09 USD\"`"));
        return None;
    }
    let mut is_good = check_currency([limit, per_request, per_gb], reading);
    is_good &= check_positive(limit, "a budget of nothing lets nobody through", "write how much may be spent", reading);
    for price in [per_request, per_gb] {
        is_good &= check_positive(price, "what costs nothing spends nothing", "leave it out", reading);
    }
    if let (Some(price), Some(limit)) = (per_request.given(), limit.given())
        && is_good
        && price.value.money > limit.value.money
    {
        let error = reading.error(price.span, "one request costs more than the whole budget, so nobody would get in");
        let place = reading.place(limit.span);
        reading.report(error.with_related(&place, "the budget"));
        return None;
    }
    let limit = limit.value()?;
    let budget = Budget {
        limit: limit.money,
        per: per.value()?.0,
        per_request: price(per_request)?,
        per_gb: price(per_gb)?,
        currency: limit.currency.clone(),
        place: reading.place(key),
    };
    is_good.then_some(budget)
}

fn price(field: &Field<Amount>) -> Option<Money> {
    match field {
        Field::Absent => Some(Money::default()),
        Field::Broken => None,
        Field::Given(price) => Some(price.value.money),
    }
}

/// Reports amounts in another currency than the first one; whether there are none.
fn check_currency(amounts: [&Field<Amount>; 3], reading: &mut Reading) -> bool {
    let mut given = amounts.into_iter().filter_map(Field::given);
    let Some(first) = given.next() else { return true };
    let others: Vec<&Given<Amount>> = given.filter(|other| other.value.currency != first.value.currency).collect();
    for other in &others {
        let (one, two) = (&first.value.currency, &other.value.currency);
        let error = reading.error(other.span, format!("this is in {two}, and the budget is in {one}"));
        let place = reading.place(first.span);
        reading.report(error.with_related(&place, format!("an amount in {one}")));
    }
    others.is_empty()
}

/// Reports nothing at all in place of an amount; whether there is something.
fn check_positive(field: &Field<Amount>, message: &str, help: &str, reading: &mut Reading) -> bool {
    let Some(zero) = field.given().filter(|amount| amount.value.money == Money::default()) else { return true };
    reading.report(reading.error(zero.span, message).with_help(help));
    false
}
