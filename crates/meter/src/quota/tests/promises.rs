//! What is promised of any order of events: never more than the limit of a window, and never less but for what crashes lose.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use proptest::prelude::*;

use super::*;

/// A ledger whose disk is slow and fails at times, and which outlives those who use it.
#[derive(Debug)]
struct Disk {
    /// Whether asks are granted when they come and heard of later, or granted later.
    early: bool,
    totals: Mutex<HashMap<Window, u64>>,
    asks: Mutex<VecDeque<(Ask, Option<Granted>)>>,
}

impl Disk {
    fn new(early: bool) -> Arc<Self> {
        Arc::new(Self { early, totals: Mutex::default(), asks: Mutex::default() })
    }

    fn grant(&self, ask: &Ask) -> Granted {
        let mut totals = self.totals.lock().unwrap();
        let total = totals.entry(ask.window()).or_default();
        let granted = ask.grant(*total);
        *total = granted.total;
        granted
    }

    /// Answers the ask that came first, if there is one; how many units are lost by a failure.
    fn answer(&self, fails: bool) -> Option<u64> {
        let (ask, granted) = self.asks.lock().unwrap().pop_front()?;
        if fails {
            drop(ask);
            return Some(granted.map_or(0, |granted| granted.units));
        }
        let granted = granted.unwrap_or_else(|| self.grant(&ask));
        ask.answer(Ok(granted));
        Some(0)
    }

    fn answer_all(&self) {
        while self.answer(false).is_some() {}
    }
}

impl Ledger for Disk {
    fn ask(&self, ask: Ask) {
        let granted = self.early.then(|| self.grant(&ask));
        self.asks.lock().unwrap().push_back((ask, granted));
    }

    fn give_back(&self, _: &Arc<str>, window: Window, units: u64) {
        let mut totals = self.totals.lock().unwrap();
        let total = totals.get_mut(&window).expect("something was granted");
        *total = total.checked_sub(units).expect("no more than was granted");
    }
}

fn on(disk: &Arc<Disk>, law: QuotaLaw) -> Arc<Quota> {
    Quota::new("caller/acme/requests".into(), law, Arc::clone(disk) as Arc<dyn Ledger>)
}

#[derive(Debug, Clone)]
enum Event {
    Take(u64),
    GiveBack,
    Answer { fails: bool },
    Day(i64),
    Crash,
    Restart,
    Reload { limit: u64 },
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => Just(Event::Take(1)),
        3 => (1_u64..6).prop_map(Event::Take),
        2 => Just(Event::GiveBack),
        10 => prop::bool::weighted(0.2).prop_map(|fails| Event::Answer { fails }),
        1 => (0_i64..3).prop_map(Event::Day),
        1 => Just(Event::Crash),
        1 => Just(Event::Restart),
    ]
}

/// What happened so far.
struct World {
    disk: Arc<Disk>,
    law: QuotaLaw,
    quota: Arc<Quota>,
    now: UnixSeconds,
    taken: Vec<(u64, Window)>,
    lost: u64,
}

impl World {
    fn new(law: QuotaLaw, early: bool) -> Self {
        let disk = Disk::new(early);
        Self { quota: on(&disk, law), disk, law, now: NOON, taken: Vec::new(), lost: 0 }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Take(units) => {
                let taken = self.quota.take(*units, self.now);
                self.taken.extend(taken.map(|level| (*units, level.window)));
            }
            Event::GiveBack => {
                if let Some((units, window)) = self.taken.pop() {
                    self.quota.give_back(units, window);
                }
            }
            Event::Answer { fails } => self.lost += self.disk.answer(*fails).unwrap_or(0),
            Event::Day(day) => self.now = UnixSeconds(NOON.0 + day * DAY),
            Event::Crash => {
                // An ask that was on its way may have become durable, with nobody to hear of it.
                self.lost += self.law.largest_grant().max(6);
                self.disk.answer_all();
                self.quota = on(&self.disk, self.law);
            }
            Event::Restart => {
                self.quota.close();
                self.disk.answer_all();
                self.quota = on(&self.disk, self.law);
            }
            Event::Reload { limit } => {
                self.law = requests(*limit);
                self.quota.change_law(self.law);
            }
        }
    }

    fn taken_in(&self, window: Window) -> u64 {
        self.taken.iter().filter(|(_, of)| *of == window).map(|(units, _)| units).sum()
    }

    fn take_all_that_is_left(&mut self) {
        for day in 0..3 {
            self.now = UnixSeconds(NOON.0 + day * DAY);
            loop {
                self.disk.answer_all();
                match self.quota.take(1, self.now) {
                    Ok(level) => self.taken.push((1, level.window)),
                    Err(Lacking::Waiting) => {}
                    Err(Lacking::Spent { .. }) => break,
                    Err(Lacking::Unavailable) => panic!("the disk works"),
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn never_more_than_the_limit_and_never_less_but_for_crashes(
        limit in prop_oneof![1_u64..20, 200_u64..3_000],
        events in prop::collection::vec(any_event(), 1..250),
        early in any::<bool>(),
    ) {
        let mut world = World::new(requests(limit), early);
        for event in &events {
            world.happens(event);
            prop_assert!(world.taken_in(Period::Day.at(world.now)) <= limit);
        }
        world.take_all_that_is_left();
        for day in 0..3 {
            let taken = world.taken_in(Period::Day.at(UnixSeconds(NOON.0 + day * DAY)));
            prop_assert!(taken <= limit && taken + world.lost >= limit, "{taken} of {limit}, lost {}", world.lost);
        }
    }

    #[test]
    fn a_changed_limit_counts_from_what_was_used_before(
        events in prop::collection::vec(
            prop_oneof![9 => any_event(), 1 => (1_u64..500).prop_map(|limit| Event::Reload { limit })], 1..250,
        ),
        last in 1_u64..500,
        early in any::<bool>(),
    ) {
        let mut world = World::new(requests(500), early);
        for event in &events {
            world.happens(event);
            prop_assert!(world.taken_in(Period::Day.at(world.now)) <= 500);
        }
        world.disk.answer_all();
        world.happens(&Event::Reload { limit: last });
        let before: Vec<_> = (0..3).map(|day| world.taken_in(Period::Day.at(UnixSeconds(NOON.0 + day * DAY)))).collect();
        world.take_all_that_is_left();
        for (day, before) in (0..).zip(before) {
            let taken = world.taken_in(Period::Day.at(UnixSeconds(NOON.0 + day * DAY)));
            prop_assert!(taken <= last.max(before), "{taken}, {before} before, limit {last}");
            prop_assert!(taken + world.lost >= last.min(500), "{taken} of {last}, lost {}", world.lost);
        }
    }
}

#[test]
fn units_that_come_back_while_the_last_ones_are_granted_are_not_forgotten() {
    let disk = Disk::new(true);
    let quota = on(&disk, requests(6));
    assert_eq!(quota.take(5, NOON), Err(Lacking::Waiting));
    disk.answer_all();
    // This asks ahead for the sixth, which is granted before the five come back, and heard of afterwards.
    let level = quota.take(5, NOON).expect("units");
    quota.give_back(5, level.window);
    disk.answer_all();
    let mut taken = 0;
    for _ in 0..20 {
        taken += u64::from(quota.take(1, NOON).is_ok());
        disk.answer_all();
    }
    assert_eq!((taken, quota.take(1, NOON)), (6, Err(spent(requests(6), NOON))));
}

/// Numbers that look random, the same in each run.
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |sides| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    }
}

/// Waits until something comes of an ask.
fn wait(quota: &Arc<Quota>, now: UnixSeconds) {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    while quota.poll_ready(1, now, &mut Context::from_waker(&waker)).is_pending() {
        thread::park();
    }
}

/// Asks are answered by a thread of its own, at its leisure.
#[derive(Debug)]
struct SlowDisk {
    disk: Arc<Disk>,
    asks: Sender<Ask>,
}

impl Ledger for SlowDisk {
    fn ask(&self, ask: Ask) {
        self.asks.send(ask).expect("the thread");
    }

    fn give_back(&self, account: &Arc<str>, window: Window, units: u64) {
        self.disk.give_back(account, window, units);
    }
}

fn answer_at_leisure(disk: &Disk, asks: &Receiver<Ask>) {
    let mut dice = dice(7);
    while let Ok(ask) = asks.recv() {
        for _ in 0..dice(5) {
            thread::yield_now();
        }
        disk.ask(ask);
        disk.answer(dice(20) == 0);
    }
}

/// One of many who take, give back, step the clock and crash; what they took, by window.
fn take_at_random(seed: u64, slot: &Mutex<Arc<Quota>>, crash: &(dyn Fn() + Sync)) -> HashMap<Window, u64> {
    let (mut dice, mut taken) = (dice(seed), HashMap::new());
    for _ in 0..6_000 {
        let quota = Arc::clone(&slot.lock().unwrap());
        // Most of the time it is the second day; now and then a clock is wrong.
        let day = if dice(50) == 0 { dice(3) } else { 1 };
        let now = UnixSeconds(NOON.0 + i64::try_from(day).unwrap() * DAY);
        match quota.take(1, now) {
            Ok(level) if dice(10) == 0 => quota.give_back(1, level.window),
            Ok(level) => *taken.entry(level.window).or_default() += 1,
            Err(Lacking::Waiting) => wait(&quota, now),
            Err(Lacking::Spent { .. } | Lacking::Unavailable) => {}
        }
        if seed == 1 && dice(300) == 0 {
            crash();
        }
    }
    taken
}

#[test]
fn many_threads_crashes_and_clocks_never_get_more_than_the_limit() {
    let law = requests(20_000);
    let disk = Disk::new(false);
    let (asks, asked) = channel();
    let slow: Arc<dyn Ledger> = Arc::new(SlowDisk { disk: Arc::clone(&disk), asks });
    let new = || Quota::new("caller/acme/requests".into(), law, Arc::clone(&slow));
    let slot = Mutex::new(new());
    let crashes = AtomicUsize::new(0);
    let crash = || {
        crashes.fetch_add(1, Ordering::Relaxed);
        *slot.lock().unwrap() = new();
    };
    let answering = Arc::clone(&disk);
    // It ends with the last quota.
    thread::spawn(move || answer_at_leisure(&answering, &asked));
    let mut taken: HashMap<Window, u64> = HashMap::new();
    thread::scope(|scope| {
        let (slot, crash) = (&slot, &crash);
        let takers: Vec<_> = (1..=8).map(|seed| scope.spawn(move || take_at_random(seed, slot, crash))).collect();
        for (window, units) in takers.into_iter().flat_map(|taker| taker.join().expect("no panic")) {
            *taken.entry(window).or_default() += units;
        }
    });
    let quota = Arc::clone(&slot.lock().unwrap());
    for day in 0..3 {
        let now = UnixSeconds(NOON.0 + day * DAY);
        loop {
            match quota.take(1, now) {
                Ok(level) => *taken.entry(level.window).or_default() += 1,
                Err(Lacking::Waiting | Lacking::Unavailable) => wait(&quota, now),
                Err(Lacking::Spent { .. }) => break,
            }
        }
    }
    // A crash here is one that others survive for a moment: each of the eight may give back to what is dead.
    let lost = (law.largest_grant() + 8) * u64::try_from(crashes.load(Ordering::Relaxed)).unwrap();
    assert_eq!(taken.len(), 3);
    for (window, taken) in taken {
        assert!(taken <= 20_000 && taken + lost >= 20_000, "{taken} in {window}, lost {lost}");
    }
}
