#![expect(clippy::single_range_in_vec_init, reason = "segments are ranges")]

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::threads::pool::{Pool, walk};
use crate::threads::schedule::{Cut, Part, Schedule, Work};
use crate::threads::shared::{Lane, Plan};

/// A round that writes `bytes` at `at` and reads the same number before them.
fn after(at: usize, bytes: usize, cut: Cut) -> Work {
    Work { write: at..at + bytes, reads: [at - bytes..at, 0..0], cut }
}

/// One round of its own that writes the start of the memory.
fn alone(threads: usize, bytes: usize, cut: Cut) -> Arc<Schedule> {
    let work = Work { write: 0..bytes, reads: [0..0, 0..0], cut };
    Arc::new(Schedule::new(threads, vec![work], vec![0..1]))
}

fn items(part: Part) -> Range<usize> {
    match part {
        Part::Items(range) => range,
        Part::Slices(_) => panic!("slices of a round that is cut by items"),
    }
}

#[test]
fn every_item_is_done_once_whatever_the_threads() {
    for threads in [1, 2, 3, 5] {
        let mut pool = Pool::new(threads);
        for (count, grain) in [(1, 1), (2, 1), (7, 4), (64, 16), (1000, 7)] {
            let mut memory = vec![0u8; count * 3];
            let cut = Cut::items((count, grain, usize::MAX), 3, threads);
            let schedule = alone(threads, memory.len(), cut);
            pool.run_segment(&schedule, 0, &mut memory, &mut vec![0; 1024 * threads], |_, part, out, _, scratch| {
                let range = items(part);
                assert_eq!((range.start % grain, out.len(), scratch.len()), (0, range.len() * 3, 1024));
                scratch.fill(1);
                for (i, item) in range.zip(out.chunks_exact_mut(3)) {
                    item.iter_mut().for_each(|x| *x += (i % 251) as u8 + 1);
                }
            });
            let wanted: Vec<u8> = (0..count * 3).map(|i| (i / 3 % 251) as u8 + 1).collect();
            assert_eq!(memory, wanted, "{threads} threads, {count} items");
        }
    }
}

#[test]
fn columns_are_done_once_whatever_the_threads() {
    for threads in [1, 2, 3] {
        let mut pool = Pool::new(threads);
        for slices in [1, 2, 5, 9] {
            let (rows, stride) = (4, 3 * slices + 2);
            let columns = |slices: Range<usize>| 3 * slices.start..3 * slices.end;
            let cut = Cut::columns((slices, 9), [rows, stride], columns, threads);
            let mut memory = vec![7u8; rows * stride];
            let schedule = alone(threads, memory.len(), cut);
            pool.run_segment(&schedule, 0, &mut memory, &mut vec![0; threads * 256], |_, part, compact, _, scratch| {
                let Part::Slices(slices) = part else { panic!("items of a round that is cut by columns") };
                scratch.fill(1);
                let width = 3 * slices.len();
                assert_eq!(compact.len(), rows * width);
                for (i, byte) in compact.iter_mut().enumerate() {
                    *byte = (i / width * 50 + 3 * slices.start + i % width) as u8;
                }
            });
            let place = |i: usize| (i / stride, i % stride);
            let wanted = |i: usize| if place(i).1 < 3 * slices { (place(i).0 * 50 + place(i).1) as u8 } else { 7 };
            let wanted: Vec<u8> = (0..rows * stride).map(wanted).collect();
            assert_eq!(memory, wanted, "{threads} threads, {slices} slices");
        }
    }
}

/// 40 works of 24 bytes each, cut in all ways or not; each byte is one more than three of the work before, added up.
fn chain(threads: usize, segments: Vec<Range<usize>>) -> Schedule {
    const BYTES: usize = 24;
    let cut = |work: usize| match work % 7 {
        0 | 4 | 5 => Cut::whole(BYTES),
        1 => Cut::columns((4, 4), [2, 12], |slices| 3 * slices.start..3 * slices.end, threads),
        n => Cut::items((BYTES / n, 1, 3 * n), n, threads),
    };
    let works = (0..40).map(|work| after((work + 1) * BYTES, BYTES, cut(work))).collect();
    Schedule::new(threads, works, segments)
}

fn chain_link(work: usize, part: Part, out: &mut [u8], read: &[u8]) {
    let positions: Vec<usize> = match part {
        Part::Slices(s) => {
            (0..2).flat_map(|row| (3 * s.start..3 * s.end).map(move |column| 12 * row + column)).collect()
        }
        Part::Items(range) => {
            let each = out.len() / range.len();
            (range.start * each..range.end * each).collect()
        }
    };
    assert_eq!(out.len(), positions.len());
    for (out, at) in out.iter_mut().zip(positions) {
        let sum = [1, 7, 13].iter().fold(work as u8, |sum: u8, next| sum.wrapping_add(read[(at + next) % read.len()]));
        *out = sum.wrapping_add(1);
    }
}

/// A work sees all of the one before, however often and in whatever segments, and with two schedules taking turns.
#[test]
fn works_follow_one_another() {
    let whole = 0..40;
    let start = |memory: &mut [u8]| memory.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * 37) as u8);
    let mut wanted = vec![0; 41 * 24];
    start(&mut wanted);
    let one = Arc::new(chain(1, vec![whole.clone()]));
    Pool::new(1).run_segment(&one, 0, &mut wanted, &mut [0; 64], |work, part, out, [read, _], _| {
        chain_link(work, part, out, read)
    });
    for threads in [2, 3, 4] {
        let mut pool = Pool::new(threads);
        let schedules = [vec![whole.clone()], vec![0..7, 7..8, 8..40]].map(|s| Arc::new(chain(threads, s)));
        for turn in 0..600 {
            let schedule = &schedules[turn / 3 % 2];
            let mut memory = vec![0; 41 * 24];
            start(&mut memory);
            for segment in 0..[1, 3][turn / 3 % 2] {
                pool.run_segment(
                    schedule,
                    segment,
                    &mut memory,
                    &mut vec![0; threads * 64],
                    |work, part, out, [read, _], _| chain_link(work, part, out, read),
                );
            }
            assert_eq!(memory, wanted, "{threads} threads, turn {turn}");
        }
    }
}

#[test]
fn a_pool_wakes_after_a_rest() {
    let mut pool = Pool::new(3);
    let schedule = alone(3, 9, Cut::items((9, 1, 9), 1, 3));
    for turn in 0..20 {
        if turn % 5 == 0 {
            thread::sleep(Duration::from_millis(5));
        }
        let mut memory = [0u8; 9];
        pool.run_segment(&schedule, 0, &mut memory, &mut [], |_, _, out, _, _| out.fill(1));
        assert_eq!(memory, [1; 9]);
    }
}

/// All threads of a pool that rested come to work where there is work for long enough.
#[test]
fn who_sleeps_is_woken() {
    let mut pool = Pool::new(3);
    let schedule = alone(3, 60, Cut::Items { items: 60, stride: 1, share: 1 });
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(20));
        let seen = Mutex::new(std::collections::HashSet::new());
        pool.run_segment(&schedule, 0, &mut [0; 60], &mut [], |_, _, _, _, _| {
            seen.lock().unwrap().insert(thread::current().id());
            thread::sleep(Duration::from_millis(2));
        });
        assert_eq!(seen.into_inner().unwrap().len(), 3);
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_threads_end() {
    let mut pool = Pool::new(2);
    let schedule = alone(2, 2, Cut::Items { items: 2, stride: 1, share: 1 });
    for bad in [0, 1] {
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run_segment(&schedule, 0, &mut [0; 2], &mut [], |_, part, _, _, _| {
                assert!(items(part).start != bad, "on purpose")
            });
        }));
        assert!(result.is_err());
    }
    // The pool works on.
    let mut memory = [0u8; 2];
    pool.run_segment(&schedule, 0, &mut memory, &mut [], |_, _, out, _, _| out.fill(1));
    assert_eq!(memory, [1; 2]);
}

/// Whoever gets no core keeps no layer waiting.
#[test]
fn the_caller_does_not_wait_for_who_has_not_begun() {
    let shared = Pool::new(3).shared.clone();
    let computed = AtomicUsize::new(0);
    let mut pool = Pool { shared, schedule: None, workers: Vec::new() };
    let works = (1..5).map(|at| after(4 * at, 4, Cut::Items { items: 4, stride: 1, share: at % 2 + 1 })).collect();
    let schedule = Arc::new(Schedule::new(3, works, vec![0..4]));
    for _ in 0..50 {
        pool.run_segment(&schedule, 0, &mut [0; 20], &mut [], |_, part, _, _, _| {
            computed.fetch_add(items(part).len(), Ordering::Relaxed);
        });
    }
    assert_eq!(computed.into_inner(), 50 * 16);
}

/// Who comes when a segment is over finds nothing to do in it, not even with the schedule that will be posted next.
#[test]
fn who_comes_too_late_does_nothing() {
    let shared = Pool::new(2).shared.clone();
    let mut pool = Pool { shared: shared.clone(), schedule: None, workers: Vec::new() };
    let first = alone(2, 2, Cut::Items { items: 2, stride: 1, share: 1 });
    pool.run_segment(&first, 0, &mut [0; 2], &mut [], |_, _, _, _, _| {});
    // A thread that runs it from now on panics.
    // SAFETY: no thread but this one uses the pool.
    unsafe { *shared.posted.0.task.get() = Some(&|_, _, _| panic!("a part was computed that was finished")) };
    let (posted, mut plan) = (shared.posted(), Plan::NONE);
    walk(&shared, posted, 1, &mut plan);
    assert!(plan.schedule.as_ref().is_some_and(|schedule| Arc::ptr_eq(schedule, &first)));
    // As `Pool::walk` does before it posts: its second round has a number that no part of the first schedule had.
    let works = (1..3).map(|at| after(2 * at, 2, Cut::Items { items: 2, stride: 1, share: 1 })).collect();
    let next = Plan { version: 2, schedule: Some(Arc::new(Schedule::new(2, works, vec![0..2]))), since: 2 };
    *shared.plan.lock().unwrap() = next;
    shared.version.store(2, Ordering::Release);
    walk(&shared, posted, 1, &mut plan);
    assert_eq!((plan.version, shared.failed.load(Ordering::Relaxed)), (2, false), "a part was computed twice");
}

#[test]
fn each_part_is_claimed_once_and_none_of_a_past_round() {
    let lane = Lane::new();
    assert_eq!([lane.claim(5, 2), lane.claim(5, 2), lane.claim(5, 2)], [Some(0), Some(1), None]);
    // Nothing was dealt to the lane in round 7.
    assert_eq!([lane.claim(7, 0), lane.claim(5, 2), lane.claim(9, 1)], [None, None, Some(0)]);
    assert_eq!([lane.claim(5, 2), lane.claim(5, 3), lane.claim(9, 1)], [None; 3]);
}
