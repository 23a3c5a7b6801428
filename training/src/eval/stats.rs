//! Figures of merit. Scores are compared with `>=`; equal scores are never told apart.

/// Equal error rate, 0 to 1: where as many positives are missed as negatives are let through, in shares.
///
/// The two rates are step functions of the threshold; between the two thresholds around their crossing both are taken
/// to be linear. `NaN` if either list is empty.
pub fn eer(positives: &[f32], negatives: &[f32]) -> f64 {
    if positives.is_empty() || negatives.is_empty() {
        return f64::NAN;
    }
    let mut all: Vec<(f32, bool)> = positives.iter().map(|&s| (s, true)).collect();
    all.extend(negatives.iter().map(|&s| (s, false)));
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut miss, mut accept) = (1.0, 0.0);
    let (mut hits, mut alarms) = (0, 0);
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let right = group.iter().filter(|(_, p)| *p).count();
        hits += right;
        alarms += group.len() - right;
        let next = (1.0 - hits as f64 / positives.len() as f64, alarms as f64 / negatives.len() as f64);
        if next.1 >= next.0 {
            // miss + t (next.0 - miss) = accept + t (next.1 - accept)
            let gap = miss - accept;
            let t = gap / (gap + next.1 - next.0);
            return miss + t * (next.0 - miss);
        }
        (miss, accept) = next;
    }
    miss
}

/// Average precision, 0 to 1: the sum over falling thresholds of precision times the recall gained.
///
/// Pairs with equal scores come in together. Sorts `scored` by falling score. `NaN` without a positive.
pub fn average_precision(scored: &mut [(f32, bool)]) -> f64 {
    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let positives = scored.iter().filter(|(_, p)| *p).count();
    if positives == 0 {
        return f64::NAN;
    }
    let (mut seen, mut hits, mut sum) = (0_usize, 0_usize, 0.0);
    for group in scored.chunk_by(|a, b| a.0 == b.0) {
        let right = group.iter().filter(|(_, p)| *p).count();
        seen += group.len();
        hits += right;
        sum += right as f64 * hits as f64 / seen as f64;
    }
    sum / positives as f64
}

/// Lowest miss rate at no more than `fa_per_hour`, 0 to 1, of points `(false alarms an hour, miss rate)`; 1 without one.
pub fn miss_at(points: &[(f64, f64)], fa_per_hour: f64) -> f64 {
    points.iter().filter(|(fa, _)| *fa <= fa_per_hour).map(|(_, miss)| *miss).fold(1.0, f64::min)
}

/// Wilson's 95 % interval of a share of `hits` in `trials`, both 0 to 1; all of it without trials.
pub fn wilson(hits: usize, trials: usize) -> (f64, f64) {
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (n, z) = (trials as f64, 1.96_f64);
    let p = hits as f64 / n;
    let middle = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z * z / n;
    (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
}

/// Area under the ROC curve: the chance that a positive scores higher than a negative, ties counting half.
pub fn auc(positives: &[f32], negatives: &[f32]) -> f64 {
    let mut sorted = negatives.to_vec();
    sorted.sort_by(f32::total_cmp);
    let wins: f64 = positives
        .iter()
        .map(|p| {
            let below = sorted.partition_point(|n| n < p);
            let not_above = sorted.partition_point(|n| n <= p);
            f64::midpoint(below as f64, not_above as f64)
        })
        .sum();
    wins / (positives.len() as f64 * negatives.len() as f64)
}

/// Share of positives above the threshold that lets through at most the share `fpr` of the negatives.
pub fn tpr_at(positives: &[f32], negatives: &[f32], fpr: f64) -> f64 {
    let mut sorted = negatives.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let allowed = (fpr * sorted.len() as f64).floor() as usize;
    let least = sorted.get(allowed).copied().unwrap_or(f32::NEG_INFINITY);
    positives.iter().filter(|p| **p > least).count() as f64 / positives.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-9, "{got}, by hand {want}");
    }

    #[test]
    fn eer_by_hand() {
        near(eer(&[0.9, 0.8], &[0.1, 0.2]), 0.0);
        // Threshold 0.6: one of four missed, one of four let through.
        near(eer(&[0.9, 0.8, 0.7, 0.3], &[0.6, 0.2, 0.1, 0.0]), 0.25);
        // Everything upside down: every threshold errs; they cross at 1.
        near(eer(&[0.1], &[0.9]), 1.0);
        // No information: one score for all.
        near(eer(&[0.5, 0.5], &[0.5, 0.5, 0.5]), 0.5);
        assert!(eer(&[], &[0.1]).is_nan());
    }

    #[test]
    fn roc_figures_by_hand() {
        // Of four pairs three are right and one is a tie.
        near(auc(&[0.9, 0.5], &[0.5, 0.1]), 3.5 / 4.0);
        // One of four negatives may pass: the threshold lies at the second, 0.6.
        near(tpr_at(&[0.9, 0.7, 0.6, 0.2], &[0.8, 0.6, 0.1, 0.0], 0.25), 0.5);
        near(tpr_at(&[0.9, 0.7], &[0.8, 0.1], 0.0), 0.5);
    }

    #[test]
    fn wilson_by_hand() {
        // 5 of 10: symmetric around one half; 0 of 10: from 0 to z^2 / (n + z^2).
        let (low, high) = wilson(5, 10);
        near(low + high, 1.0);
        assert!((low - 0.2366).abs() < 1e-3, "{low}");
        assert!((wilson(0, 10).1 - 3.8416 / 13.8416).abs() < 1e-9);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn average_precision_by_hand() {
        near(average_precision(&mut [(0.1, false), (0.9, true), (0.8, true)]), 1.0);
        // Positives at ranks 1 and 3: (1/1 + 2/3) / 2.
        near(average_precision(&mut [(0.9, true), (0.8, false), (0.7, true), (0.6, false)]), 5.0 / 6.0);
        // All alike: the share of positives.
        near(average_precision(&mut [(0.5, true), (0.5, false), (0.5, false), (0.5, false)]), 0.25);
        assert!(average_precision(&mut [(0.5, false)]).is_nan());
    }

    #[test]
    fn the_lowest_miss_within_the_rate_counts() {
        let points = [(0.0, 1.0), (0.0, 2.0 / 3.0), (2.0, 2.0 / 3.0), (2.0, 1.0 / 3.0), (4.0, 0.0)];
        near(miss_at(&[], 1.0), 1.0);
        near(miss_at(&points, 1.0), 2.0 / 3.0);
        near(miss_at(&points, 2.0), 1.0 / 3.0);
    }
}
