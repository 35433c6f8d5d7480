use crate::window::{Period, Window};

/// What a process may still use of a window without asking: one word, so that it changes as a whole.
///
/// From the high end: 2 bits of period (0: no window), 16 bits of window, 1 bit "nothing more is to be had in this window",
/// 45 bits of units. Sixteen bits are every day of 1970 to 2149, and the weeks and months of longer; so no two windows look
/// alike, and what was granted in one is never used in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease(u64);

/// The most units a lease can have.
pub(crate) const MOST_UNITS: u64 = (1 << UNIT_BITS) - 1;

const UNIT_BITS: u32 = 45;
const SPENT: u64 = 1 << UNIT_BITS;
const INDEX_SHIFT: u32 = UNIT_BITS + 1;
const PERIOD_SHIFT: u32 = INDEX_SHIFT + 16;

impl Lease {
    /// Of no window.
    pub(crate) const NONE: Self = Self(0);

    /// Of a window, without units. None for windows before 1970 and after what 16 bits count.
    pub(crate) fn of(window: Window) -> Option<Self> {
        let period: u64 = match window.period() {
            Period::Day => 1,
            Period::Week => 2,
            Period::Month => 3,
        };
        let index = u16::try_from(window.index()).ok()?;
        Some(Self(period << PERIOD_SHIFT | u64::from(index) << INDEX_SHIFT))
    }

    pub(crate) fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// The window whose units these are.
    pub(crate) fn window(self) -> Option<Window> {
        let period = match self.0 >> PERIOD_SHIFT {
            1 => Period::Day,
            2 => Period::Week,
            3 => Period::Month,
            _ => return None,
        };
        // Sixteen bits, by the shift before and the cast.
        Some(Window::new(period, (self.0 >> INDEX_SHIFT) as u16))
    }

    /// How many units there are.
    pub(crate) fn rest(self) -> u64 {
        self.0 & MOST_UNITS
    }

    /// Whether nothing more is to be had in this window than the rest.
    pub(crate) fn is_last(self) -> bool {
        self.0 & SPENT != 0
    }

    /// Without so many units, if it has them.
    pub(crate) fn less(self, units: u64) -> Option<Self> {
        (units <= self.rest()).then(|| Self(self.0 - units))
    }

    /// With so many units more, if there is room for them in the word.
    pub(crate) fn plus(self, units: u64) -> Option<Self> {
        (units <= MOST_UNITS - self.rest()).then(|| Self(self.0 + units))
    }

    pub(crate) fn without_units(self) -> Self {
        Self(self.0 & !MOST_UNITS)
    }

    /// Says whether nothing more is to be had.
    pub(crate) fn last(self, last: bool) -> Self {
        Self(if last { self.0 | SPENT } else { self.0 & !SPENT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::UnixSeconds;

    #[test]
    fn a_lease_knows_its_window_and_its_units() {
        for period in [Period::Day, Period::Week, Period::Month] {
            let window = period.at(UnixSeconds(1_795_000_000));
            let lease = Lease::of(window).and_then(|lease| lease.plus(MOST_UNITS)).expect("in range").last(true);
            assert_eq!((lease.window(), lease.rest(), lease.is_last()), (Some(window), MOST_UNITS, true));
            assert_eq!(lease.plus(1), None);
            let empty = lease.less(MOST_UNITS).expect("it has them").last(false);
            assert_eq!((empty.window(), empty.rest(), empty.is_last()), (Some(window), 0, false));
            assert_eq!(empty.less(1), None);
        }
        assert_eq!(Lease::NONE.window(), None);
    }

    #[test]
    fn a_window_that_the_word_cannot_tell_from_another_has_no_lease() {
        let days = |days: i64| Lease::of(Period::Day.at(UnixSeconds(days * 86_400)));
        assert!(days(-1).is_none() && days(0).is_some() && days(65_535).is_some() && days(65_536).is_none());
    }
}
