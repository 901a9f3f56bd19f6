//! The machine in virtual time: nothing lost, nothing twice but after a crash, everything bounded.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

mod support;

use std::collections::{HashMap, HashSet};

use delivery::Settled;
use delivery::book::{Book, ENTRIES_MAX, RESENT_MAX, Resend};
use delivery::breaker::FAILURES_MAX;
use delivery::config::Wanted;
use delivery::machine::{
    Head, IN_FLIGHT_MAX, Machine, Parcel, REPEATS_IN_FLIGHT_MAX, RESENT_AHEAD_MAX, Step,
};
use delivery::outcome::{Outcome, Report};
use delivery::schedule::Schedule;
use paybell_core::event::{Event, EventType};
use paybell_core::ports::{Cursor, EventPage, LogRead};
use paybell_core::time::Millis;
use paybell_core::{MchId, Timestamp};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use support::{START, event, paid};
use uuid::Uuid;

/// A log, the machine that reads it, and an endpoint whose answers are brought.
struct World {
    log: Vec<Event>,
    machine: Machine,
    now: Timestamp,
    flying: Vec<Parcel>,
    random: StdRng,
    /// As often as the endpoint took each.
    taken: HashMap<Uuid, u32>,
    given_up: HashSet<Uuid>,
    posts: usize,
}

fn report(outcome: Outcome) -> Report {
    Report::unsent(outcome, "words")
}

impl World {
    fn new(events: usize, wanted: Wanted) -> Self {
        let book = Book::new("target".to_owned(), Cursor::START);
        Self {
            log: (0..events).map(paid).collect(),
            machine: Machine::new(book, wanted, Schedule::Webhook),
            now: START,
            flying: Vec::new(),
            random: StdRng::seed_from_u64(7),
            taken: HashMap::new(),
            given_up: HashSet::new(),
            posts: 0,
        }
    }

    fn cursor(&self, position: usize) -> Cursor {
        let id = position.checked_sub(1).map_or(Uuid::nil(), |before| self.log[before].id);
        Cursor { position: position as u64, id }
    }

    fn page(&self, after: Cursor, limit: usize) -> LogRead {
        let from = usize::try_from(after.position).unwrap();
        let to = (from + limit).min(self.log.len());
        let events = (from..to).map(|at| (self.cursor(at + 1), self.log[at].clone())).collect();
        LogRead::Page(EventPage { events, next: self.cursor(to), has_more: to < self.log.len() })
    }

    /// Steps until the machine waits; says until when.
    fn run(&mut self) -> Option<Timestamp> {
        loop {
            match self.machine.step(self.now) {
                Step::Read(reading) => {
                    let page = self.page(reading.after, reading.limit);
                    self.machine.took(&reading, page, self.now);
                }
                Step::Post(parcel) => {
                    self.posts += 1;
                    assert!(
                        !self.flying.iter().any(|flying| flying.entry.id == parcel.entry.id),
                        "twice at once"
                    );
                    self.flying.push(*parcel);
                }
                Step::Wait { until, .. } => {
                    self.check();
                    return until;
                }
            }
        }
    }

    fn check(&self) {
        let book = self.machine.book();
        assert!(book.entries.len() <= ENTRIES_MAX, "{} entries", book.entries.len());
        assert!(self.flying.len() <= IN_FLIGHT_MAX);
        let repeats = self.flying.iter().filter(|parcel| parcel.entry.step > 0).count();
        assert!(repeats <= REPEATS_IN_FLIGHT_MAX);
        assert_eq!(self.machine.in_flight(), self.flying.len());
    }

    /// Everything that was delivered is to be sent again.
    fn resend_all(&mut self) {
        assert!(self.machine.resend(Resend { after: Cursor::START, to: self.log.len() as u64 }));
    }

    fn append(&mut self) -> Uuid {
        self.log.push(paid(self.log.len()));
        self.machine.log_grew();
        self.log[self.log.len() - 1].id
    }

    fn end(&mut self, at: usize, outcome: Outcome) {
        let id = self.flying.remove(at).entry.id;
        if outcome == Outcome::Delivered {
            *self.taken.entry(id).or_default() += 1;
        }
        if self.machine.settled(id, &report(outcome), self.now, &mut self.random) == Settled::GivenUp {
            self.given_up.insert(id);
        }
    }

    /// The process dies; another one goes on from what was kept.
    fn crash(&mut self, kept: &Book, is_taken: bool) {
        for parcel in std::mem::take(&mut self.flying) {
            if is_taken {
                *self.taken.entry(parcel.entry.id).or_default() += 1;
            }
        }
        let text = serde_json::to_string(kept).unwrap();
        let book = serde_json::from_str(&text).unwrap();
        self.machine = Machine::new(book, Wanted::default(), Schedule::Webhook);
    }

    /// Everything is answered well from now on.
    fn recover(&mut self) {
        self.machine.enable(self.now);
        for _ in 0..100_000 {
            self.machine.log_grew();
            let until = self.run();
            match (self.flying.is_empty(), until) {
                (false, _) => self.end(0, Outcome::Delivered),
                (true, Some(until)) => self.now = until,
                (true, None) => return,
            }
        }
        panic!("it never ends: {:?}", self.machine.book());
    }
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Delivered),
        2 => Just(Outcome::Refused),
        2 => Just(Outcome::Silent),
        1 => Just(Outcome::Unbuildable),
        1 => Just(Outcome::NotTried),
        1 => (1..4000i64).prop_map(|s| Outcome::Throttled { until: START + Millis::seconds(s) }),
        1 => Just(Outcome::Disabled),
    ]
}

#[derive(Debug, Clone)]
enum Act {
    End(usize, Outcome),
    Pass(i64),
    Keep,
    Enable,
    Append,
    Repeat(usize),
    Resend(usize, usize),
    Crash(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => (0..8usize, outcomes()).prop_map(|(at, outcome)| Act::End(at, outcome)),
        4 => prop_oneof![1..5_000i64, 1..400_000i64, 1..90_000_000i64].prop_map(Act::Pass),
        3 => Just(Act::Keep),
        1 => Just(Act::Enable),
        2 => Just(Act::Append),
        1 => (0..20usize).prop_map(Act::Repeat),
        1 => (0..20usize, 0..20usize).prop_map(|(from, to)| Act::Resend(from, to)),
        1 => any::<bool>().prop_map(Act::Crash),
    ];
    prop::collection::vec(act, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice_but_after_a_crash(acts in acts(), events in 0..40usize) {
        let mut world = World::new(events, Wanted::default());
        let mut kept = world.machine.book().clone();
        let (mut crashes, mut asked) = (0, 0);
        for act in acts {
            world.run();
            match act {
                Act::End(at, outcome) if at < world.flying.len() => world.end(at, outcome),
                Act::End(..) => {}
                Act::Pass(ms) => world.now = world.now + Millis(ms),
                Act::Keep => kept = world.machine.book().clone(),
                Act::Enable => world.machine.enable(world.now),
                Act::Append => {
                    world.log.push(paid(world.log.len()));
                    world.machine.log_grew();
                }
                Act::Repeat(at) if at < world.log.len() => {
                    let repeat = world.log[at].clone();
                    world.log.push(repeat);
                    world.machine.log_grew();
                }
                Act::Resend(from, to) if from < to && to <= world.log.len() => {
                    let resend = Resend { after: world.cursor(from), to: to as u64 };
                    asked += u32::from(world.machine.resend(resend));
                }
                Act::Repeat(_) | Act::Resend(..) => {}
                Act::Crash(is_taken) => {
                    crashes += 1;
                    world.crash(&kept, is_taken);
                }
            }
        }
        world.recover();
        for event in &world.log {
            let taken = world.taken.get(&event.id).copied().unwrap_or(0);
            let is_given_up = world.given_up.contains(&event.id);
            prop_assert!(taken > 0 || is_given_up, "lost: {}", event.subject);
            prop_assert!(taken <= 1 + crashes + asked, "{taken} times: {}", event.subject);
        }
        prop_assert!(world.machine.book().entries.is_empty());
        prop_assert_eq!(world.machine.book().cursor.position, world.log.len() as u64);
    }
}

#[test]
fn a_full_set_stops_the_cursor_and_loses_nothing() {
    let mut world = World::new(3 * ENTRIES_MAX, Wanted::default());
    // Refusals, so that the breaker stays closed and the set fills.
    for _ in 0..20_000 {
        world.run();
        match world.flying.is_empty() {
            false => world.end(0, Outcome::Refused),
            true if world.machine.book().entries.len() >= ENTRIES_MAX => break,
            true => world.now = world.now + Millis::seconds(1),
        }
    }
    let book = world.machine.book();
    assert_eq!((book.entries.len(), book.cursor.position), (ENTRIES_MAX, ENTRIES_MAX as u64));
    let text = serde_json::to_string(book).unwrap();
    assert!(text.len() < paybell_core::ports::NOTE_BYTES_MAX / 2, "{} bytes", text.len());
    world.recover();
    assert_eq!(world.taken.len(), 3 * ENTRIES_MAX);
    assert!(world.taken.values().all(|taken| *taken == 1));
}

#[test]
fn a_silent_endpoint_is_asked_now_and_then_only_and_the_cursor_waits() {
    let mut world = World::new(500, Wanted::default());
    let hours = 200_i64;
    while world.now < START + Millis::seconds(3600 * hours) {
        let until = world.run();
        match world.flying.is_empty() {
            false => world.end(0, Outcome::Silent),
            true => world.now = until.unwrap(),
        }
    }
    let book = world.machine.book();
    assert!(book.breaker.failures > FAILURES_MAX);
    let an_hour = i64::try_from(world.posts).unwrap() / hours;
    assert!((60..=125).contains(&an_hour), "{an_hour} posts an hour");
    let given_up = world.given_up.len();
    assert!((1..=200).contains(&given_up), "in eight days {given_up} are given up");
    assert!(book.cursor.position < 300, "the cursor waits, at {}", book.cursor.position);
    world.recover();
    assert_eq!(world.taken.len() + given_up, 500, "nobody is given up for the silence before its turn");
}

/// How long until every event that the endpoint can take is taken, if it fails on the first `poison`.
fn held_up(poison: usize, outcome: &Outcome) -> Millis {
    let mut world = World::new(60, Wanted::default());
    let ids: HashSet<Uuid> = world.log.iter().take(poison).map(|event| event.id).collect();
    while world.taken.len() < 60 - poison {
        let until = world.run();
        match world.flying.first() {
            Some(parcel) if ids.contains(&parcel.entry.id) => world.end(0, outcome.clone()),
            Some(_) => world.end(0, Outcome::Delivered),
            None => world.now = until.unwrap(),
        }
    }
    world.now.since(START)
}

#[test]
fn events_that_fail_hold_up_no_other() {
    assert_eq!(held_up(40, &Outcome::Refused), Millis(0));
    assert_eq!(held_up(4, &Outcome::Silent), Millis(0));
    // Silence of twenty in a row cannot be told from an endpoint that is down: each costs a probe.
    let held_up = held_up(20, &Outcome::Silent);
    assert!(held_up < Millis::seconds(20 * 60), "{held_up:?}");
}

#[test]
fn after_three_days_an_event_is_given_up_and_can_be_sent_again() {
    let mut world = World::new(1, Wanted::default());
    while world.given_up.is_empty() {
        match (world.run(), world.flying.is_empty()) {
            (_, false) => world.end(0, Outcome::Refused),
            (until, true) => world.now = until.unwrap(),
        }
    }
    assert!(world.now.since(START).0 >= 72 * 3_600_000);
    let book = world.machine.book();
    assert!(book.entries.is_empty() && book.totals.given_up == 1);
    assert_eq!(book.given_up[0].event, world.log[0].id);
    let resend = Resend { after: book.given_up[0].after, to: 1 };
    assert!(world.machine.resend(resend));
    world.run();
    assert!(world.flying[0].entry.asked);
    world.end(0, Outcome::Delivered);
    assert_eq!(world.taken[&world.log[0].id], 1);
}

#[test]
fn a_410_stops_everything_until_it_is_enabled() {
    let mut world = World::new(30, Wanted::default());
    world.run();
    world.end(0, Outcome::Disabled);
    while !world.flying.is_empty() {
        world.end(0, Outcome::Delivered);
    }
    world.now = world.now + Millis::seconds(40 * 86_400);
    assert_eq!(world.run(), None);
    assert!(world.flying.is_empty(), "nothing is sent to who wants nothing");
    world.recover();
    assert_eq!(world.taken.len(), 30);
}

#[test]
fn an_asked_pause_is_kept() {
    let mut world = World::new(3, Wanted::default());
    world.run();
    let until = START + Millis::seconds(600);
    world.end(0, Outcome::Throttled { until });
    world.end(0, Outcome::Delivered);
    world.end(0, Outcome::Delivered);
    assert_eq!(world.run(), Some(until));
    world.now = until;
    world.run();
    assert_eq!(world.flying.len(), 1);
}

#[test]
fn only_wanted_events_are_sent() {
    let kinds = [EventType::Paid, EventType::Closed, EventType::Refunded];
    let wanted = Wanted {
        types: vec![EventType::Paid, EventType::Refunded],
        mch_ids: vec![MchId::new("1900000109").unwrap()],
    };
    let mut world = World::new(0, wanted);
    for mch_id in ["1900000109", "1900000110"] {
        world.log.extend((0..6).map(|number| event(mch_id, number, kinds[number % 3])));
    }
    world.recover();
    assert_eq!(world.taken.len(), 4);
    assert_eq!(world.machine.book().cursor.position, 12);
}

#[test]
fn a_place_that_left_the_log_goes_on_at_the_oldest_and_is_counted() {
    let mut world = World::new(10, Wanted::default());
    let oldest = world.cursor(6);
    world.machine.book_mut().cursor = Cursor { position: 3, id: Uuid::from_u128(1) };
    let Step::Read(reading) = world.machine.step(START) else { panic!("it reads first") };
    world.machine.took(&reading, LogRead::Gone { oldest }, START);
    world.recover();
    assert_eq!((world.taken.len(), world.machine.book().totals.cursor_gone), (4, 1));
}

#[test]
fn a_place_beyond_the_log_is_looked_for_now_and_then_and_never_given_up_for_the_oldest() {
    let mut world = World::new(10, Wanted::default());
    world.recover();
    let (place, posts) = (world.machine.book().cursor, world.posts);
    world.machine.log_grew();
    for _ in 0..5 {
        let Step::Read(reading) = world.machine.step(world.now) else { panic!("it looks") };
        assert_eq!(reading.after, place);
        world.machine.took(&reading, LogRead::Gone { oldest: Cursor::START }, world.now);
        let Step::Wait { until: Some(until), for_log: false } = world.machine.step(world.now) else {
            panic!("it waits for a time")
        };
        assert!(until > world.now && until <= world.now + Millis::seconds(60));
        world.now = until;
    }
    let book = world.machine.book();
    assert_eq!((book.cursor, book.totals.cursor_gone, book.stranded_at.is_some()), (place, 0, true));
    // The replica has caught up.
    world.log.push(paid(10));
    world.recover();
    assert_eq!((world.posts, world.machine.book().stranded_at), (posts + 1, None));
}

#[test]
fn a_part_of_another_log_is_not_sent_from_the_oldest_event_on() {
    let mut world = World::new(10, Wanted::default());
    world.recover();
    let posts = world.posts;
    assert!(world.machine.resend(Resend { after: world.cursor(7), to: 10 }));
    let Step::Read(reading) = world.machine.step(world.now) else { panic!("it reads first") };
    world.machine.took(&reading, LogRead::Gone { oldest: Cursor::START }, world.now);
    world.recover();
    assert_eq!(world.posts, posts);
    assert!(world.machine.book().resends.is_empty());
}

#[test]
fn what_is_new_goes_out_beside_a_part_that_is_sent_again() {
    let mut world = World::new(2000, Wanted::default());
    world.recover();
    world.resend_all();
    for _ in 0..100 {
        world.run();
        world.end(0, Outcome::Delivered);
    }
    for _ in 0..10 {
        let new = world.append();
        let before = world.posts;
        while !world.taken.contains_key(&new) {
            world.run();
            world.end(0, Outcome::Delivered);
        }
        let ahead = world.posts - before;
        assert!(ahead <= RESENT_AHEAD_MAX + 2 * IN_FLIGHT_MAX, "{ahead} were sent before it");
    }
    world.recover();
    assert!(world.log[..2000].iter().all(|event| world.taken[&event.id] == 2), "and all of them once more");
}

#[test]
fn what_is_sent_again_waits_for_no_end_of_what_is_new() {
    let mut world = World::new(2000, Wanted::default());
    world.log.truncate(1);
    world.recover();
    world.log.extend((1..2000).map(paid));
    world.machine.log_grew();
    world.run();
    assert!(world.machine.resend(Resend { after: Cursor::START, to: 1 }));
    while world.taken[&world.log[0].id] < 2 {
        world.run();
        world.end(0, Outcome::Delivered);
    }
    assert!(world.taken.len() < 200, "{} of those that had waited longer", world.taken.len());
}

#[test]
fn what_is_sent_again_and_refused_leaves_room_for_what_is_new() {
    let mut world = World::new(2 * ENTRIES_MAX, Wanted::default());
    world.recover();
    world.resend_all();
    for _ in 0..10 * ENTRIES_MAX {
        let until = world.run();
        match world.flying.is_empty() {
            false => world.end(0, Outcome::Refused),
            true => world.now = until.unwrap(),
        }
    }
    assert_eq!(world.machine.book().entries.len(), RESENT_MAX);
    for _ in 0..20 {
        world.now = world.now + Millis::seconds(3600);
        let new = world.append();
        let ends = (0..RESENT_MAX).find(|_| {
            world.run();
            let is_new = world.flying[0].entry.id == new;
            world.end(0, if is_new { Outcome::Delivered } else { Outcome::Refused });
            is_new
        });
        assert!(ends.is_some_and(|ends| ends <= 2 * IN_FLIGHT_MAX), "{ends:?} repeats ended before it");
    }
}

#[test]
fn only_what_an_endpoint_did_not_get_counts_as_its_lag() {
    let mut world = World::new(10, Wanted::default());
    world.recover();
    world.now = world.now + Millis::seconds(86_400);
    world.resend_all();
    world.run();
    let lag = |world: &World| world.machine.book().lag_ms(world.now);
    assert_eq!((world.flying.len(), lag(&world)), (IN_FLIGHT_MAX, 0));
    world.recover();
    // What waits by itself does, whoever asks for it once more.
    world.append();
    world.run();
    assert!(lag(&world) > 86_000_000);
    world.resend_all();
    assert!(world.machine.resend(Resend { after: world.cursor(10), to: 11 }));
    world.run();
    assert!(lag(&world) > 86_000_000);
    // What a person had sent before its turn is owed once it comes.
    let mut world = World::new(1, Wanted::default());
    let Step::Read(reading) = world.machine.step(START) else { panic!("it reads first") };
    world.machine.cannot_read(reading, START);
    world.resend_all();
    world.run();
    assert_eq!((world.flying.len(), lag(&world)), (1, 0));
    world.now = START + Millis::seconds(3600);
    world.run();
    assert!(lag(&world) > 3_500_000, "{:?}", world.machine.book());
}

/// Steps as with a log of which one event cannot be read.
fn run_but(world: &mut World, unread: u64) -> Vec<Head> {
    let mut held_up = Vec::new();
    loop {
        match world.machine.step(world.now) {
            Step::Read(reading) => match world.page(reading.after, reading.limit) {
                LogRead::Page(page) if reading.after.position + 1 == unread => {
                    drop(page);
                    held_up.push(reading.head);
                    world.machine.cannot_read(reading, world.now);
                }
                LogRead::Page(mut page) => {
                    if page.next.position >= unread && reading.after.position < unread {
                        page.events.retain(|(cursor, _)| cursor.position < unread);
                        (page.next, page.has_more) = (page.events.last().unwrap().0, true);
                    }
                    world.machine.took(&reading, LogRead::Page(page), world.now);
                }
                LogRead::Gone { .. } => panic!("nothing is pruned"),
            },
            Step::Post(parcel) => {
                world.flying.push(*parcel);
                world.end(0, Outcome::Delivered);
            }
            Step::Wait { .. } => return held_up,
        }
    }
}

#[test]
fn a_part_that_cannot_be_read_on_holds_up_nothing_new_and_the_other_way_round() {
    let mut world = World::new(20, Wanted::default());
    world.recover();
    world.resend_all();
    assert_eq!(run_but(&mut world, 11), [Head::Resend]);
    assert_eq!(world.taken[&world.log[9].id], 2, "what lies before it comes");
    let new = world.append();
    assert_eq!(run_but(&mut world, 11), []);
    assert_eq!(world.taken[&new], 1);
    world.now = world.now + Millis::seconds(10);
    assert_eq!(run_but(&mut world, 11), [Head::Resend], "it is tried again now and then");
    world.machine.pass_over(Head::Resend, world.cursor(11));
    assert_eq!(run_but(&mut world, 11), []);
    let twice = |world: &World| world.taken.values().filter(|times| **times == 2).count();
    assert_eq!((twice(&world), world.machine.book().resends.len()), (19, 0));

    let unread = world.log.len() as u64 + 1;
    world.append();
    assert_eq!(run_but(&mut world, unread), [Head::Main]);
    assert!(world.machine.resend(Resend { after: world.cursor(10), to: 11 }));
    assert_eq!(run_but(&mut world, unread), []);
    assert_eq!(twice(&world), 20);
    assert_eq!(world.machine.unread().map(|reading| reading.head).collect::<Vec<_>>(), [Head::Main]);
}

#[test]
fn what_was_decided_in_shadow_is_for_nobody_even_if_a_person_asks_for_the_whole_log() {
    let mut world = World::new(4, Wanted::default());
    for at in [0, 2] {
        world.log[at].order_mut().unwrap().shadow = true;
    }
    world.recover();
    assert!(world.machine.resend(Resend { after: Cursor::START, to: 4 }));
    world.recover();
    let told: HashSet<Uuid> = [1, 3].map(|at: usize| world.log[at].id).into();
    assert_eq!(world.taken.keys().copied().collect::<HashSet<_>>(), told);
    assert!(world.taken.values().all(|times| *times == 2), "once by itself, once for the person");
}
