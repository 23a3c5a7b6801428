//! How loud the microphone is.

use kws_live::audio::Levels;

use super::{Finding, Patient};

/// Peak below which speech is lost in the noise of most microphones, dB of full scale.
const QUIET: f32 = -50.0;
/// Share of samples at full scale above which words are distorted.
const CLIPPED: f32 = 1e-3;
/// Seconds at the beginning that are left out: devices click when they start.
const START: f32 = 0.3;

/// Looks at what was recorded.
pub fn measure(patient: &mut Patient) -> Finding {
    match &patient.sound {
        Some((sound, rate)) => judge(&sound[((*rate as f32 * START) as usize).min(sound.len())..]),
        None if patient.silent => Finding::skipped("the microphone gave no sound"),
        None => Finding::good("not measured: no microphone is used"),
    }
}

fn judge(sound: &[f32]) -> Finding {
    let decibels = |level: f32| 20.0 * level.max(1e-6).log10();
    let levels = Levels::default();
    levels.measure(sound);
    let (peak, clipped) = (levels.peak(), levels.clipped() as f32 / sound.len().max(1) as f32);
    let text = format!("peak {:.0} dB, mean {:.0} dB", decibels(peak), decibels(levels.rms()));
    if peak == 0.0 {
        return Finding::bad(
            "silence without any noise: it is muted, or it is not a microphone",
            "unmute it (alsamixer, then F4; or pactl set-source-mute @DEFAULT_SOURCE@ 0), or choose another with --device",
        );
    }
    if clipped > CLIPPED {
        let text = format!("{text}: {:.1} % of it clips", clipped * 100.0);
        return Finding::doubt(text, "turn its volume down (alsamixer, then F4), or move away from it");
    }
    if decibels(peak) < QUIET {
        let text = format!("{text}: too quiet, if you said something");
        return Finding::doubt(text, "turn its volume up (alsamixer, then F4), or come nearer");
    }
    Finding::good(text)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn tone(level: f32) -> Vec<f32> {
        (0..16_000).map(|i| (level * (i as f32 * 0.1).sin()).clamp(-1.0, 1.0)).collect()
    }

    #[test]
    fn levels_are_told_apart() {
        for (level, status, part) in [
            (0.0, Status::Fail, "muted"),
            (0.001, Status::Warn, "too quiet"),
            (0.1, Status::Ok, "peak -20 dB, mean -23 dB"),
            (1.5, Status::Warn, "clips"),
        ] {
            let finding = judge(&tone(level));
            assert!(finding.status == status && finding.text.contains(part), "{level}: {finding:?}");
            assert_eq!(finding.advice.is_some(), status != Status::Ok, "{finding:?}");
        }
        assert_eq!(judge(&[]).status, Status::Fail);
    }
}
