//! Exact t-SNE (van der Maaten and Hinton, JMLR 9, 2008) for some hundreds of unit vectors.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Neighbours that a point is taken to have.
const PERPLEXITY: f64 = 20.0;
const STEPS: usize = 400;
/// Steps with enlarged attraction at the start, so that groups find each other.
const EARLY: usize = 80;

/// Places points in the plane so that near neighbours stay near; the same points give the same picture.
///
/// `distances`: squared distances, `[n, n]`.
pub fn tsne(distances: &[f64], n: usize) -> Vec<(f64, f64)> {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut at: Vec<[f64; 2]> = (0..n).map(|_| [rng.random::<f64>() - 0.5, rng.random::<f64>() - 0.5]).collect();
    if n < 4 {
        return at.into_iter().map(|[x, y]| (x, y)).collect();
    }
    let p = affinities(distances, n);
    let mut speed = vec![[0.0_f64; 2]; n];
    let mut gain = vec![[1.0_f64; 2]; n];
    let rate = (n as f64 / 12.0).max(50.0);
    let mut q = vec![0.0; n * n];
    for step in 0..STEPS {
        let mut sum = 1e-12;
        for i in 0..n {
            for j in 0..i {
                let (dx, dy) = (at[i][0] - at[j][0], at[i][1] - at[j][1]);
                let value = 1.0 / (1.0 + dx * dx + dy * dy);
                q[i * n + j] = value;
                q[j * n + i] = value;
                sum += 2.0 * value;
            }
        }
        let pull = if step < EARLY { 12.0 } else { 1.0 };
        let momentum = if step < EARLY { 0.5 } else { 0.8 };
        let from = at.clone();
        for i in 0..n {
            let mut slope = [0.0; 2];
            for j in 0..n {
                if i != j {
                    let w = q[i * n + j];
                    let force = 4.0 * (pull * p[i * n + j] - w / sum) * w;
                    slope[0] += force * (from[i][0] - from[j][0]);
                    slope[1] += force * (from[i][1] - from[j][1]);
                }
            }
            for d in 0..2 {
                let same = slope[d].signum() == speed[i][d].signum();
                gain[i][d] = if same { (gain[i][d] * 0.8).max(0.01) } else { gain[i][d] + 0.2 };
                speed[i][d] = momentum * speed[i][d] - rate * gain[i][d] * slope[d];
                at[i][d] += speed[i][d];
            }
        }
    }
    at.into_iter().map(|[x, y]| (x, y)).collect()
}

/// Symmetric joint probabilities, each row's width found by bisection for the perplexity.
fn affinities(distances: &[f64], n: usize) -> Vec<f64> {
    let target = PERPLEXITY.min((n - 1) as f64 / 3.0).ln();
    let mut p = vec![0.0; n * n];
    for i in 0..n {
        let row = &distances[i * n..(i + 1) * n];
        let nearest = (0..n).filter(|&j| j != i).map(|j| row[j]).fold(f64::INFINITY, f64::min);
        let (mut low, mut high, mut beta) = (0.0, f64::INFINITY, 1.0);
        for _ in 0..60 {
            let (mut sum, mut mean) = (0.0, 0.0);
            for j in (0..n).filter(|&j| j != i) {
                let d = row[j] - nearest;
                let w = (-d * beta).exp();
                p[i * n + j] = w;
                sum += w;
                mean += w * d;
            }
            (0..n).for_each(|j| p[i * n + j] /= sum);
            // Entropy of the row, nats.
            let entropy = sum.ln() + beta * mean / sum;
            if (entropy - target).abs() < 1e-5 {
                break;
            }
            if entropy > target {
                low = beta;
                beta = if high.is_finite() { f64::midpoint(beta, high) } else { beta * 2.0 };
            } else {
                high = beta;
                beta = f64::midpoint(beta, low);
            }
        }
    }
    let mut joint = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            joint[i * n + j] = ((p[i * n + j] + p[j * n + i]) / (2 * n) as f64).max(1e-12);
        }
    }
    joint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_groups_stay_three_groups() {
        // Distance 0.01 inside a group, 2 across.
        let (n, groups) = (60, 3);
        let mut distances = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                distances[i * n + j] = if i == j {
                    0.0
                } else if i % groups == j % groups {
                    0.01
                } else {
                    2.0
                };
            }
        }
        let at = tsne(&distances, n);
        let far = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).hypot(a.1 - b.1);
        let mut wrong = 0;
        for i in 0..n {
            let nearest = (0..n)
                .filter(|&j| j != i)
                .min_by(|&a, &b| far(at[i], at[a]).total_cmp(&far(at[i], at[b])))
                .expect("others");
            wrong += usize::from(nearest % groups != i % groups);
        }
        assert!(wrong <= 1, "{wrong} points lie nearest to another group");
    }
}
