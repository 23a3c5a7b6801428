//! What a run reports: means over a few steps, as CSV.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

/// Means over 20 steps of a fixed list of values.
pub(super) struct Metrics {
    file: File,
    names: &'static [&'static str],
    sums: Vec<f64>,
    norm: f64,
    count: u32,
    seconds: f32,
    since: Instant,
}

impl Metrics {
    const EVERY: u32 = 20;

    /// Opens the file of a run that goes on after step `first`: rows of later steps, which are made again, are gone.
    pub(super) fn open(path: &Path, names: &'static [&'static str], first: u64) -> Result<Self> {
        let before = if first == 0 { String::new() } else { fs::read_to_string(path).unwrap_or_default() };
        let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(file, "step,rate,{},grad_norm,audio_seconds_per_second", names.join(","))?;
        let step = |row: &&str| row.split(',').next().and_then(|step| step.parse::<u64>().ok());
        for row in before.lines().skip(1).filter(|row| step(row).is_some_and(|step| step <= first)) {
            writeln!(file, "{row}")?;
        }
        Ok(Self { file, names, sums: vec![0.0; names.len()], norm: 0.0, count: 0, seconds: 0.0, since: Instant::now() })
    }

    /// Takes one step's values; returns a line for people when one is due.
    pub(super) fn add(
        &mut self,
        step: u64,
        rate: f64,
        norm: f64,
        values: &[f64],
        seconds: f32,
    ) -> Result<Option<String>> {
        self.sums.iter_mut().zip(values).for_each(|(s, v)| *s += v);
        self.norm += norm;
        self.count += 1;
        self.seconds += seconds;
        if self.count < Self::EVERY {
            return Ok(None);
        }
        let count = f64::from(self.count);
        let speed = self.seconds / self.since.elapsed().as_secs_f32();
        let (mut row, mut line) = (format!("{},{rate:.2e}", step + 1), format!("step {}:", step + 1));
        for (name, sum) in self.names.iter().zip(&mut self.sums) {
            let mean = *sum / count;
            write!(row, ",{mean:.4}")?;
            write!(line, " {name} {mean:.3}")?;
            *sum = 0.0;
        }
        let norm = self.norm / count;
        writeln!(self.file, "{row},{norm:.3},{speed:.0}")?;
        write!(line, " |g| {norm:.2} {speed:.0} s/s")?;
        (self.norm, self.count, self.seconds, self.since) = (0.0, 0, 0.0, Instant::now());
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_made_again_are_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.csv");
        let run = |first: u64, last: u64| {
            let mut metrics = Metrics::open(&path, &["loss"], first).expect("a file");
            for step in first..last {
                metrics.add(step, 0.1, 1.0, &[step as f64], 6.0).expect("a row");
            }
        };
        // Killed after step 60; the last checkpoint was at 40.
        run(0, 60);
        run(40, 80);
        let csv = fs::read_to_string(&path).expect("metrics");
        let steps: Vec<&str> = csv.lines().map(|l| l.split(',').next().unwrap_or_default()).collect();
        assert_eq!(steps, ["step", "20", "40", "60", "80"]);
    }
}
