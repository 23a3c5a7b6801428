//! The gate: where nothing happens, the model need not run.
//!
//! A cheap judge looks at the levels of a few groups of mel bands against their own floor, and errs on the side of listening.
//! Features are kept while the gate is shut. A model that looks back only so far computes, fed with that much of them, what it
//! would have computed had it never stopped, so that opening late costs nothing: the onset is replayed.

use std::collections::VecDeque;

use crate::frontend::LEVELS;

/// Scored frames of onset that are replayed, seconds: what the judge may be late by.
const PRE_ROLL: f32 = 0.6;
/// Quiet that shuts the gate, seconds: longer than any keyword's end and refractory time take.
const HANG_OVER: f32 = 2.0;
/// Half of the time over which a floor is the lowest level, seconds.
const FLOOR: f32 = 5.0;
/// How far above its floor a group's level is activity, nepers of power (4.3 dB): stationary noise stays below.
const RISE: f32 = 1.0;
/// Time constant of the levels, scored frames.
const SMOOTH: f32 = 4.0;

/// Follows the lowest of a level over the last one to two [`FLOOR`]s.
#[derive(Debug, Clone, Copy)]
struct Floor {
    level: Option<f32>,
    /// Lowest of the last whole stretch and of the present one.
    lowest: [f32; 2],
}

impl Floor {
    const NEW: Self = Self { level: None, lowest: [f32::INFINITY; 2] };

    /// Takes the level of a frame; how far its smoothed level lies above the floor.
    fn rise(&mut self, level: f32) -> f32 {
        let smooth = self.level.map_or(level, |l| l + (level - l) / SMOOTH);
        self.level = Some(smooth);
        self.lowest[1] = self.lowest[1].min(smooth);
        smooth - self.lowest[0].min(self.lowest[1])
    }

    fn turn(&mut self) {
        self.lowest = [self.lowest[1], f32::INFINITY];
    }
}

/// What to do with a scored frame's features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The model hears them.
    Hear,
    /// The model hears them, after a fresh start with what [`Gate::replay`] gives.
    Open,
    /// Nobody hears them, nor what follows: the first of a row.
    Shut,
    /// Nobody hears them.
    Rest,
}

/// Decides for each scored frame.
pub(super) struct Gate {
    floors: [Floor; LEVELS],
    open: bool,
    /// Scored frames since the last activity, since the floors' stretch began, and for which the gate has been shut.
    quiet: usize,
    stretch: usize,
    shut: usize,
    /// The three constants in scored frames.
    pre_roll: usize,
    hang_over: usize,
    turn_after: usize,
    /// Scored frames that the model looks back.
    memory: usize,
    /// Features of the last scored frames, `[memory + pre_roll, unit]` at the most.
    history: VecDeque<f32>,
    unit: usize,
    /// Scored frames that were not heard since the gate was made.
    skipped: u64,
}

impl Gate {
    /// A gate for a model that looks back `memory` scored frames of `seconds`, `unit` features each.
    pub(super) fn new(memory: usize, unit: usize, seconds: f32) -> Self {
        let frames = |time: f32| (time / seconds).round() as usize;
        let pre_roll = frames(PRE_ROLL);
        Self {
            floors: [Floor::NEW; LEVELS],
            open: true,
            quiet: 0,
            stretch: 0,
            shut: 0,
            pre_roll,
            hang_over: frames(HANG_OVER),
            turn_after: frames(FLOOR),
            memory,
            history: VecDeque::with_capacity((memory + pre_roll + 1) * unit),
            unit,
            skipped: 0,
        }
    }

    /// Takes a scored frame: its features, `[unit]`, and the mean levels of its groups of bands, ln of power.
    pub(super) fn step(&mut self, features: &[f32], levels: [f32; LEVELS]) -> Turn {
        self.history.extend(features);
        let excess = self.history.len().saturating_sub((self.memory + self.pre_roll) * self.unit);
        self.history.drain(..excess);
        let mut active = false;
        for (floor, level) in self.floors.iter_mut().zip(levels) {
            active |= floor.rise(level) > RISE;
        }
        self.stretch += 1;
        if self.stretch >= self.turn_after {
            self.stretch = 0;
            self.floors.iter_mut().for_each(Floor::turn);
        }
        self.quiet = if active { 0 } else { self.quiet + 1 };
        match (self.open, active) {
            (false, true) => {
                self.open = true;
                Turn::Open
            }
            (true, false) if self.quiet >= self.hang_over => {
                self.open = false;
                self.shut = 0;
                self.skip();
                Turn::Shut
            }
            (true, _) => Turn::Hear,
            (false, false) => {
                self.skip();
                Turn::Rest
            }
        }
    }

    fn skip(&mut self) {
        self.shut += 1;
        self.skipped += 1;
    }

    /// After [`Turn::Open`]: the features that the model has to hear now, the last scored frame's included, and how many scored
    /// frames of them only fill its memory.
    pub(super) fn replay(&mut self) -> (usize, impl ExactSizeIterator<Item = f32> + '_) {
        let held = self.history.len() / self.unit;
        let fresh = (self.shut + 1).min(self.pre_roll).min(held);
        self.skipped -= (fresh - 1) as u64;
        (held - fresh, self.history.iter().copied())
    }

    /// Scored frames that were never heard since the gate was made.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// A new stream, or one that goes on behind a gap: open, floors unknown.
    pub(super) fn reset(&mut self) {
        self.floors = [Floor::NEW; LEVELS];
        (self.open, self.quiet, self.stretch, self.shut) = (true, 0, 0, 0);
        self.history.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: [f32; LEVELS] = [-10.0; LEVELS];

    /// A gate of frames of 30 ms with one feature each, after `quiet` quiet ones that count up from 0.
    fn after(quiet: usize) -> (Gate, Vec<Turn>) {
        let mut gate = Gate::new(10, 1, 0.03);
        let turns = (0..quiet).map(|i| gate.step(&[i as f32], QUIET)).collect();
        (gate, turns)
    }

    #[test]
    fn quiet_shuts_it_and_one_band_opens_it_with_the_onset_replayed() {
        let (mut gate, turns) = after(200);
        let heard = turns.iter().filter(|t| **t == Turn::Hear).count();
        assert_eq!(heard, 66);
        assert_eq!(turns[66], Turn::Shut);
        assert!(turns[67..].iter().all(|t| *t == Turn::Rest));
        let mut loud = QUIET;
        loud[LEVELS - 1] = -2.0;
        assert_eq!(gate.step(&[200.0], loud), Turn::Open);
        let (filling, features): (usize, Vec<f32>) = {
            let (filling, features) = gate.replay();
            (filling, features.collect())
        };
        assert_eq!((filling, features.len()), (10, 30));
        assert_eq!((features[0], features[29]), (171.0, 200.0));
        assert_eq!(gate.skipped(), 200 - 66 - 19);
        assert_eq!(gate.step(&[201.0], loud), Turn::Hear);
    }

    #[test]
    fn a_short_pause_replays_only_what_was_not_heard() {
        let (mut gate, _) = after(70);
        assert_eq!(gate.step(&[70.0], [0.0; LEVELS]), Turn::Open);
        // Shut for the frames 66 to 69.
        let fresh = {
            let (filling, features) = gate.replay();
            features.len() - filling
        };
        assert_eq!(fresh, 5);
        assert_eq!(gate.skipped(), 0);
    }

    #[test]
    fn a_level_that_stays_becomes_the_floor() {
        let (mut gate, _) = after(10);
        let turns: Vec<Turn> = (0..1_000).map(|_| gate.step(&[0.0], [-5.0; LEVELS])).collect();
        assert_eq!(turns[100], Turn::Hear);
        assert_eq!(turns[999], Turn::Rest);
    }
}
