//! Filters moved over a few frames at a time.
//!
//! A live chunk is three or four encoder frames long, so that what a convolution costs is to bring its weights to the processor: in
//! eight bits a quarter of what single precision takes. They become floats just before they are used, a piece that fits the nearest
//! cache at a time, and meet vectors of whatever width this processor has (`pulp` chooses when the program runs).

// Only what is inlined is compiled for the vectors of its caller.
#![expect(clippy::inline_always)]

use pulp::Arch;

use super::widen::{Task, Widen, dispatch};

/// Outputs whose weights lie side by side.
const PANEL: usize = 32;
/// Inputs of a panel that become floats at a time: 16 kB.
const DEPTH: usize = 128;

/// A convolution over time, in one group, without padding.
pub(super) struct Filters {
    inputs: usize,
    outputs: usize,
    taps: usize,
    moves: Moves,
    weights: Weights,
    steps: Steps,
    /// `[panels, PANEL]`.
    bias: Vec<f32>,
    arch: Arch,
}

/// `[panels, taps, inputs, PANEL]`; an output that is there to fill the last panel has zeros.
enum Weights {
    Eight(Vec<i8>),
    Single(Vec<f32>),
}

/// What the numbers count, by tap.
enum Steps {
    One,
    /// `[taps, inputs]`.
    Inputs(Vec<f32>),
    /// `[panels, taps, PANEL]`.
    Outputs(Vec<f32>),
}

/// Weights as a file has them.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// Whole numbers, and what they count by output and tap, `[outputs, 1, taps]`, or by input and tap, `[1, inputs, taps]`.
    Eight {
        weights: &'a [i8],
        steps: &'a [f32],
        steps_shape: &'a [usize],
    },
    Single(&'a [f32]),
}

/// `[outputs, inputs, taps]` as `[panels, taps, inputs, PANEL]`.
fn panels<T: Copy + Default>(shape: &[usize], from: &[T]) -> Vec<T> {
    let &[outputs, inputs, taps] = shape else { return Vec::new() };
    let mut to = vec![T::default(); outputs.div_ceil(PANEL) * taps * inputs * PANEL];
    for (i, value) in from.iter().enumerate() {
        let (output, input, tap) = (i / taps / inputs, i / taps % inputs, i % taps);
        to[((output / PANEL * taps + tap) * inputs + input) * PANEL + output % PANEL] = *value;
    }
    to
}

/// How filters move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Moves {
    pub(super) dilation: usize,
    pub(super) stride: usize,
    /// Whether what is below zero becomes zero.
    pub(super) relu: bool,
}

impl Moves {
    /// Frames that an output depends on.
    pub(super) fn span(self, taps: usize) -> usize {
        (taps - 1) * self.dilation + 1
    }

    /// Frames that come out of so many: none where they are less than the span.
    pub(super) fn frames(self, before: usize, taps: usize) -> usize {
        before.checked_sub(self.span(taps)).map_or(0, |more| more / self.stride + 1)
    }
}

impl Filters {
    /// # Shapes
    /// Weights: `[outputs, inputs, taps]` as `shape` says; `bias`: `[outputs]`. None if one does not fit.
    pub(super) fn new(shape: &[usize], given: Given<'_>, bias: &[f32], moves: Moves) -> Option<Self> {
        let &[outputs, inputs, taps] = shape else { return None };
        let count = match given {
            Given::Eight { weights, .. } => weights.len(),
            Given::Single(weights) => weights.len(),
        };
        let fits = count == outputs * inputs * taps && bias.len() == outputs;
        if !fits || count == 0 || moves.dilation == 0 || moves.stride == 0 {
            return None;
        }
        let (weights, steps) = match given {
            Given::Single(weights) => (Weights::Single(panels(shape, weights)), Steps::One),
            Given::Eight { weights, steps, steps_shape } => {
                if steps.len() != steps_shape.iter().product::<usize>() {
                    return None;
                }
                let steps = if steps_shape == [1, inputs, taps] {
                    Steps::Inputs((0..taps * inputs).map(|i| steps[i % inputs * taps + i / inputs]).collect())
                } else if steps_shape == [outputs, 1, taps] {
                    Steps::Outputs(panels(steps_shape, steps))
                } else {
                    return None;
                };
                (Weights::Eight(panels(shape, weights)), steps)
            }
        };
        let (bias, arch) = (panels(&[outputs, 1, 1], bias), Arch::new());
        Some(Self { inputs, outputs, taps, moves, weights, steps, bias, arch })
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn taps(&self) -> usize {
        self.taps
    }

    pub(super) fn moves(&self) -> Moves {
        self.moves
    }

    /// # Shapes
    /// `x`: `[inputs, before]`; returns `[outputs, frames]`, as many as [`Moves::frames`] says.
    pub(super) fn run(&self, x: &[f32]) -> Vec<f32> {
        let before = x.len() / self.inputs;
        let frames = self.moves.frames(before, self.taps);
        let mut out = vec![0.0; self.outputs * frames];
        let heard = self.heard(x, before, frames);
        dispatch(self.arch, Run { filters: self, heard: &heard, frames, out: &mut out });
        out
    }

    /// What each output frame depends on, `[frames, taps, inputs]`, times the steps that inputs have.
    fn heard(&self, x: &[f32], before: usize, frames: usize) -> Vec<f32> {
        let mut turned = Vec::with_capacity(x.len());
        for t in 0..before {
            turned.extend(x[t..].iter().step_by(before));
        }
        let mut heard = Vec::with_capacity(frames * self.taps * self.inputs);
        for (t, tap) in (0..frames).flat_map(|t| (0..self.taps).map(move |tap| (t, tap))) {
            let at = t * self.moves.stride + tap * self.moves.dilation;
            let x = &turned[at * self.inputs..][..self.inputs];
            match &self.steps {
                Steps::Inputs(steps) => {
                    heard.extend(x.iter().zip(&steps[tap * self.inputs..]).map(|(x, step)| x * step));
                }
                Steps::One | Steps::Outputs(_) => heard.extend_from_slice(x),
            }
        }
        heard
    }
}

/// Floats that begin where a line of the cache does.
#[repr(align(64))]
struct Aligned([f32; DEPTH * PANEL]);

/// One call of [`Filters::run`].
struct Run<'a> {
    filters: &'a Filters,
    heard: &'a [f32],
    frames: usize,
    out: &'a mut [f32],
}

impl Task for Run<'_> {
    #[inline(always)]
    fn run<S: Widen>(self, simd: S) {
        let Self { filters, heard, frames, out } = self;
        let Filters { inputs, taps, .. } = *filters;
        let row = taps * inputs;
        let ones = [1.0; PANEL];
        let mut floats = Aligned([0.0; DEPTH * PANEL]);
        let mut sums = vec![0.0; frames * PANEL];
        for (panel, out) in out.chunks_mut(PANEL * frames.max(1)).enumerate() {
            for sums in sums.chunks_exact_mut(PANEL) {
                sums.copy_from_slice(&filters.bias[panel * PANEL..][..PANEL]);
            }
            for tap in 0..taps {
                let steps = match &filters.steps {
                    Steps::One | Steps::Inputs(_) => &ones[..],
                    Steps::Outputs(steps) => &steps[(panel * taps + tap) * PANEL..][..PANEL],
                };
                for first in (0..inputs).step_by(DEPTH) {
                    let at = ((panel * taps + tap) * inputs + first) * PANEL;
                    let at = at..at + DEPTH.min(inputs - first) * PANEL;
                    let floats = match &filters.weights {
                        Weights::Single(weights) => &weights[at],
                        Weights::Eight(weights) => {
                            let floats = &mut floats.0[..at.len()];
                            simd.widen(&weights[at], floats);
                            &*floats
                        }
                    };
                    let piece = Piece { floats, steps, heard: &heard[tap * inputs + first..], row };
                    let mut t = 0;
                    while t < frames {
                        let sums = &mut sums[t * PANEL..];
                        t += match frames - t {
                            1 => piece.add_one(simd, t, sums),
                            2 => piece.add_two(simd, t, sums),
                            3 => piece.add_three(simd, t, sums),
                            4 | 5 => piece.add_four(simd, t, sums),
                            _ => piece.add_six(simd, t, sums),
                        };
                    }
                }
            }
            let least = if filters.moves.relu { 0.0 } else { f32::NEG_INFINITY };
            for (output, out) in out.chunks_exact_mut(frames.max(1)).enumerate() {
                for (out, sums) in out.iter_mut().zip(sums.chunks_exact(PANEL)) {
                    let sum = sums[output];
                    *out = if sum < least { least } else { sum };
                }
            }
        }
    }
}

/// Some inputs of one panel and tap.
struct Piece<'a> {
    /// `[inputs, PANEL]`.
    floats: &'a [f32],
    /// What the sums of each output count by, `[PANEL]`.
    steps: &'a [f32],
    /// From the first of these inputs on.
    heard: &'a [f32],
    /// From a frame's inputs to those of the next.
    row: usize,
}

/// `fn(&self, simd, t, sums) -> usize`: adds to the sums of a panel, `[frames, PANEL]`, what its weights make of so many frames from the `t`-th
/// on; returns how many.
///
/// Every sum is a variable of its own, so that it stays in a register however the program is compiled: two vectors of outputs times six
/// frames, with what they are made of, are as many as sixteen hold.
macro_rules! add {
    ($name:ident, $count:literal: $($n:literal $x:ident $first:ident $second:ident),+) => {
        #[inline(always)]
        fn $name<S: Widen>(&self, simd: S, t: usize, sums: &mut [f32]) -> usize {
            let vectors = PANEL / S::F32_LANES;
            let (floats, steps) = (S::as_simd_f32s(self.floats).0, S::as_simd_f32s(self.steps).0);
            let sums = S::as_mut_simd_f32s(&mut sums[..$count * PANEL]).0;
            let depth = floats.len() / vectors;
            $(let $x = &self.heard[(t + $n) * self.row..][..depth];)+
            for at in (0..vectors).step_by(2) {
                $(let (mut $first, mut $second) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));)+
                for k in 0..depth {
                    let (one, other) = (floats[k * vectors + at], floats[k * vectors + at + 1]);
                    $(
                        let x = simd.splat_f32s($x[k]);
                        $first = simd.mul_add_e_f32s(one, x, $first);
                        $second = simd.mul_add_e_f32s(other, x, $second);
                    )+
                }
                $(
                    let (one, other) = ($n * vectors + at, $n * vectors + at + 1);
                    sums[one] = simd.mul_add_e_f32s($first, steps[at], sums[one]);
                    sums[other] = simd.mul_add_e_f32s($second, steps[at + 1], sums[other]);
                )+
            }
            $count
        }
    };
}

impl Piece<'_> {
    add!(add_one, 1: 0 xa fa sa);
    add!(add_two, 2: 0 xa fa sa, 1 xb fb sb);
    add!(add_three, 3: 0 xa fa sa, 1 xb fb sb, 2 xc fc sc);
    add!(add_four, 4: 0 xa fa sa, 1 xb fb sb, 2 xc fc sc, 3 xd fd sd);
    add!(add_six, 6: 0 xa fa sa, 1 xb fb sb, 2 xc fc sc, 3 xd fd sd, 4 xe fe se, 5 xf ff sf);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tract::widen::arches;
    use proptest::prelude::*;

    /// The same in two nested loops, in double precision.
    fn plainly(shape: [usize; 3], weights: &[f64], bias: &[f32], moves: Moves, x: &[f32]) -> Vec<f64> {
        let [outputs, inputs, taps] = shape;
        let before = x.len() / inputs;
        let frames = (before + moves.stride).saturating_sub((taps - 1) * moves.dilation + 1) / moves.stride;
        let mut out = Vec::new();
        for o in 0..outputs {
            for t in 0..frames {
                let mut sum = f64::from(bias[o]);
                for (i, tap) in (0..inputs).flat_map(|i| (0..taps).map(move |tap| (i, tap))) {
                    let at = t * moves.stride + tap * moves.dilation;
                    sum += weights[(o * inputs + i) * taps + tap] * f64::from(x[i * before + at]);
                }
                out.push(if moves.relu { sum.max(0.0) } else { sum });
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn filters_compute_the_convolution_of_their_rounded_weights(
            (outputs, inputs, taps) in (1_usize..70, 1_usize..300, 1_usize..5),
            (dilation, stride, relu) in (1_usize..5, 1_usize..4, any::<bool>()),
            (more, by_input, seed) in (0_usize..20, any::<bool>(), any::<u32>()),
        ) {
            let mut state = seed;
            let mut random = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            };
            let eight: Vec<i8> = (0..outputs * inputs * taps).map(|_| (random() * 127.0) as i8).collect();
            let steps_shape = if by_input { [1, inputs, taps] } else { [outputs, 1, taps] };
            let steps: Vec<f32> = (0..steps_shape.iter().product()).map(|_| 0.001 + 0.01 * random().abs()).collect();
            let bias: Vec<f32> = (0..outputs).map(|_| random()).collect();
            let moves = Moves { dilation, stride, relu };
            let given = Given::Eight { weights: &eight, steps: &steps, steps_shape: &steps_shape };
            let filters = Filters::new(&[outputs, inputs, taps], given, &bias, moves).expect("shapes fit");
            let x: Vec<f32> = (0..inputs * (moves.span(taps) + more)).map(|_| random()).collect();
            let step = |i: usize| {
                let (o, i, tap) = (i / taps / inputs, i / taps % inputs, i % taps);
                f64::from(if by_input { steps[i * taps + tap] } else { steps[o * taps + tap] })
            };
            let weights: Vec<f64> = eight.iter().enumerate().map(|(i, w)| f64::from(*w) * step(i)).collect();
            let want = plainly([outputs, inputs, taps], &weights, &bias, moves, &x);
            let single: Vec<f32> = weights.iter().map(|w| *w as f32).collect();
            let single = Filters::new(&[outputs, inputs, taps], Given::Single(&single), &bias, moves).expect("shapes fit");
            for mut filters in [filters, single] {
                for arch in arches() {
                    filters.arch = arch;
                    let got = filters.run(&x);
                    prop_assert_eq!(got.len(), want.len());
                    for (got, want) in got.iter().zip(&want) {
                        prop_assert!((f64::from(*got) - want).abs() < 1e-3, "{:?}: {} for {}", arch, got, want);
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_too_few_frames_give_nothing() {
        let moves = Moves { dilation: 2, stride: 1, relu: false };
        let new = |shape: &[usize], steps_shape: &[usize], bias: usize| {
            let steps = vec![0.1; steps_shape.iter().product()];
            let given = Given::Eight { weights: &[1; 12], steps: &steps, steps_shape };
            Filters::new(shape, given, &vec![0.0; bias], moves)
        };
        assert!(new(&[2, 2, 2], &[2, 1, 2], 2).is_none(), "weights");
        assert!(new(&[2, 6], &[2, 1], 2).is_none(), "two axes");
        assert!(new(&[2, 2, 3], &[1, 1, 3], 2).is_none(), "steps");
        assert!(new(&[2, 2, 3], &[2, 1, 3], 3).is_none(), "bias");
        let filters = new(&[2, 2, 3], &[2, 1, 3], 2).expect("it fits");
        assert_eq!(moves.span(filters.taps()), 5);
        assert!(filters.run(&[1.0; 8]).is_empty());
        assert_eq!(filters.run(&[1.0; 12]).len(), 4);
    }
}
