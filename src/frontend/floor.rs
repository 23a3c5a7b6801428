//! The floor under the logarithm, which follows quiet streams down.

/// Level from which on the floor is the model's own: mean square of a frame's samples, -40 dB of full scale.
const LOUD: f32 = 1e-4;
/// The floor comes down to this share of its own, 30 dB.
const LEAST: f32 = 1e-3;
/// How fast a level that is no longer reached is forgotten, dB a second.
const FALL: f32 = 12.0;

/// What is added to the power of a band before the logarithm is taken.
///
/// With a fixed floor the weak sounds of a quiet microphone's speech would lie under it. So the floor keeps its distance to the
/// loudest that was lately heard: at once up, slowly down. A stream begins with the model's own, as one that was loud before. It is the floor
/// that moves, not the gain: the running mean behind it sees no step.
pub(super) struct Floor {
    own: f32,
    /// Loudest frame lately, mean square.
    level: f32,
    /// What is left of `level` after a frame.
    decay: f32,
}

impl Floor {
    /// A floor of `own`, as a band's power, for so many frames a second.
    pub(super) fn new(own: f32, frames_per_second: f32) -> Self {
        Self { own, level: LOUD, decay: 10_f32.powf(-FALL / 10.0 / frames_per_second) }
    }

    /// The floor for a frame whose samples have this mean square.
    pub(super) fn follow(&mut self, power: f32) -> f32 {
        self.level = power.max(self.level * self.decay);
        self.own * (self.level / LOUD).clamp(LEAST, 1.0)
    }

    /// Forgets all frames.
    pub(super) fn reset(&mut self) {
        self.level = LOUD;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_falls_slowly_and_has_both_ends() {
        let mut floor = Floor::new(1.0, 100.0);
        assert_eq!(floor.follow(1e-2), 1.0);
        // A second takes 12 dB; of the 20 dB over `LOUD` nothing is seen.
        let after: Vec<f32> = (0..1_000).map(|_| floor.follow(0.0)).collect();
        assert_eq!(after[..166], [1.0; 166]);
        assert!((10.0 * (after[199] / after[299]).log10() - 12.0).abs() < 0.01);
        assert_eq!(after[999], LEAST);
        assert!((floor.follow(1e-5) - 0.1).abs() < 1e-6);
        floor.reset();
        assert!(floor.follow(1e-5) > 0.9);
    }
}
