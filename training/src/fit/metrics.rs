//! What a run reports: means over a few steps, as CSV.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

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

    /// Opens the file, with a header if `fresh`.
    pub(super) fn open(path: &Path, names: &'static [&'static str], fresh: bool) -> Result<Self> {
        let mut file = OpenOptions::new().create(true).append(!fresh).write(true).truncate(fresh).open(path)?;
        if fresh {
            writeln!(file, "step,rate,{},grad_norm,audio_seconds_per_second", names.join(","))?;
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
