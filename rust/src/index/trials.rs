//! Trials of vectors: which first vectors fit the spots, and which second ones around them.
//!
//! They take most of the time of a search, and ask the same of every image. So a search says what it wants tried and waits for the answer: `Cores`
//! give it at once; `Desk` keeps the question for somebody who answers those of many images together, as a graphics card does. The answers are
//! the same to the bit.

use std::future::Future;
use std::pin::{pin, Pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::matrix::{add, norm, scale, unit, upright, Vector};
use super::scan::{half_sphere, largest, toward_planes, Columns};

/// Turns kept for each first vector.
pub const TURNS_KEPT: usize = 3;

/// A vector, and how well the planes across it fit the spots.
pub type Scored = (f32, Vector);

/// Vectors of one length all over half a sphere.
#[derive(Debug, Clone, Copy)]
pub struct Directions {
    pub n: usize,
    pub length: f64,
    /// How many of the best are wanted.
    pub keep: usize,
}

/// Second vectors about first ones.
#[derive(Debug, Clone)]
pub struct Turns {
    /// The first vectors.
    pub axes: Vec<Vector>,
    pub length: f64,
    /// Cosine of the angle between first and second vectors.
    pub cosine: f64,
    /// Even ones all around.
    pub n: usize,
}

/// All second vectors about one first vector.
#[derive(Debug, Clone, Copy)]
pub struct Ring {
    /// Middle of the ring, at length 1, and the two vectors upright on the axis and on each other.
    pub middle: Vector,
    pub e1: Vector,
    pub e2: Vector,
}

impl Turns {
    /// Cosine and sine of each turn, times the radius of the ring at length 1.
    pub fn angles(&self) -> Vec<(f64, f64)> {
        let sine = (1.0 - self.cosine * self.cosine).sqrt();
        let angle = |k: usize| (std::f64::consts::TAU * k as f64 / self.n as f64).sin_cos();
        (0..self.n).map(angle).map(|(s, c)| (sine * c, sine * s)).collect()
    }

    pub fn ring(&self, axis: Vector) -> Ring {
        let axis = unit(axis);
        let (e1, e2) = upright(axis);
        Ring { middle: scale(axis, self.cosine), e1, e2 }
    }

    /// The second vector about this axis at one of `angles`.
    pub fn at(&self, ring: &Ring, (c, s): (f64, f64)) -> Vector {
        scale(add(add(ring.middle, ring.e1, c), ring.e2, s), self.length)
    }
}

/// Who makes trials.
pub(crate) trait Trials {
    /// The best directions, each moved to where the spots near its planes want it, with its score there; in the order of the scores before.
    async fn first(&self, spots: &[Vector], wanted: Directions) -> Vec<Scored>;

    /// The best turns about each first vector, the best first.
    async fn second(&self, spots: &[Vector], wanted: Turns) -> impl Around;
}

/// Answers of `Trials::second`.
pub(crate) trait Around {
    /// About the first vector of this number.
    fn axis(&self, number: usize) -> Vec<Scored>;
}

/// This thread makes them, when they are wanted.
pub(crate) struct Cores;

impl Trials for Cores {
    async fn first(&self, spots: &[Vector], wanted: Directions) -> Vec<Scored> {
        let columns = Columns::new(spots);
        let directions: Vec<Vector> = half_sphere(wanted.n).map(|direction| scale(direction, wanted.length)).collect();
        let scores = columns.scores(&directions);
        let moved = |i: usize| {
            let v = sharpen(directions[i], spots);
            (columns.score(v), v)
        };
        largest(&scores, wanted.keep).into_iter().map(moved).collect()
    }

    async fn second(&self, spots: &[Vector], wanted: Turns) -> impl Around {
        Rings { columns: Columns::new(spots), angles: wanted.angles(), wanted }
    }
}

/// Moves a vector to where the spots near its planes want it.
fn sharpen(start: Vector, spots: &[Vector]) -> Vector {
    // It may move by some hundredths of its length while phases are good to a tenth.
    let restraint = (0.1 / (0.02 * norm(start))).powi(2);
    (0..3).fold(start, |v, _| toward_planes(v, start, restraint, spots))
}

struct Rings {
    columns: Columns,
    angles: Vec<(f64, f64)>,
    wanted: Turns,
}

impl Around for Rings {
    fn axis(&self, number: usize) -> Vec<Scored> {
        let axis = self.wanted.axes[number];
        let ring = self.wanted.ring(axis);
        let vectors: Vec<Vector> = self.angles.iter().map(|&angle| self.wanted.at(&ring, angle)).collect();
        let scores = self.columns.weighted(axis).scores(&vectors);
        highest(&scores).into_iter().map(|k| (scores[k], vectors[k])).collect()
    }
}

/// Numbers of the highest peaks around a ring, the highest first; equal ones in order.
fn highest(scores: &[f32]) -> Vec<usize> {
    let n = scores.len();
    let peak = |k: usize| scores[k] >= scores[(k + n - 1) % n] && scores[k] > scores[(k + 1) % n];
    let mut peaks: Vec<usize> = (0..n).filter(|&k| peak(k)).collect();
    peaks.sort_by(|&i, &j| scores[j].total_cmp(&scores[i]).then(i.cmp(&j)));
    peaks.truncate(TURNS_KEPT);
    peaks
}

/// Trials that a search wants made.
#[derive(Debug, Clone)]
pub enum Wanted {
    First(Directions),
    Second(Turns),
}

/// What a search waits for: trials with these spots.
#[derive(Debug, Clone)]
pub struct Question {
    pub spots: Vec<Vector>,
    pub wanted: Wanted,
}

/// Trials that somebody else made.
#[derive(Debug, Clone)]
pub enum Answer {
    First(Vec<Scored>),
    /// About each first vector: score and number of the turn.
    Second(Vec<Vec<(f32, usize)>>),
}

/// Where a search leaves its question, and finds the answer.
#[derive(Debug, Default)]
pub struct Desk(Mutex<Lying>);

#[derive(Debug, Default)]
struct Lying {
    question: Option<Question>,
    answer: Option<Answer>,
}

impl Desk {
    pub fn take(&self) -> Option<Question> {
        self.lying().question.take()
    }

    pub fn answer(&self, answer: Answer) {
        self.lying().answer = Some(answer);
    }

    async fn answered(&self, wanted: Wanted, spots: &[Vector]) -> Answer {
        self.lying().question = Some(Question { spots: spots.to_vec(), wanted });
        std::future::poll_fn(|_| self.lying().answer.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    fn lying(&self) -> MutexGuard<'_, Lying> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trials for Arc<Desk> {
    async fn first(&self, spots: &[Vector], wanted: Directions) -> Vec<Scored> {
        match self.answered(Wanted::First(wanted), spots).await {
            Answer::First(found) => found,
            Answer::Second(_) => unreachable!("first vectors were asked for"),
        }
    }

    async fn second(&self, spots: &[Vector], wanted: Turns) -> impl Around {
        let found = match self.answered(Wanted::Second(wanted.clone()), spots).await {
            Answer::Second(found) => found,
            Answer::First(_) => unreachable!("second vectors were asked for"),
        };
        Told { angles: wanted.angles(), wanted, found }
    }
}

struct Told {
    wanted: Turns,
    angles: Vec<(f64, f64)>,
    found: Vec<Vec<(f32, usize)>>,
}

impl Around for Told {
    fn axis(&self, number: usize) -> Vec<Scored> {
        let ring = self.wanted.ring(self.wanted.axes[number]);
        let turned = |&(score, k): &(f32, usize)| Some((score, self.wanted.at(&ring, *self.angles.get(k)?)));
        self.found.get(number).into_iter().flatten().filter_map(turned).collect()
    }
}

/// Goes on with what never waits, or waits for nothing but an answer at a desk; None where that is not there yet.
pub fn go_on<T>(search: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    match search.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(found) => Some(found),
        Poll::Pending => None,
    }
}

/// The outcome of what never waits.
pub fn at_once<T>(search: impl Future<Output = T>) -> T {
    go_on(pin!(search)).expect("cores never wait")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::cell::Cell;
    use crate::index::{index_known, Acceptance, Search};

    /// What somebody else would say.
    fn answer(Question { spots, wanted }: Question) -> Answer {
        let turns = match wanted {
            Wanted::First(wanted) => return Answer::First(at_once(Cores.first(&spots, wanted))),
            Wanted::Second(turns) => turns,
        };
        let about = |&axis: &Vector| {
            let ring = turns.ring(axis);
            let vectors: Vec<Vector> = turns.angles().into_iter().map(|angle| turns.at(&ring, angle)).collect();
            let scores = Columns::new(&spots).weighted(axis).scores(&vectors);
            highest(&scores).into_iter().map(|k| (scores[k], k)).collect()
        };
        Answer::Second(turns.axes.iter().map(about).collect())
    }

    #[test]
    fn searches_that_wait_find_what_others_find() {
        let accept = Acceptance {
            min_spots: 8,
            min_fraction: 0.1,
            max_chance: 1e-3,
            max_lattices: 3,
            length_tolerance: 0.04,
            angle_tolerance: 3.0,
        };
        let cell = Arc::new(Cell::new(&[45.0, 60.0, 75.0, 80.0, 95.0, 105.0], 'P').unwrap());
        let columns = crate::index::matrix::inverse(&cell.primitive);
        // Two crystals, and a few spots of none.
        let point = |k: i32, turn: f64| {
            let q = crate::index::matrix::apply(
                &columns,
                [f64::from(k % 5 - 2), f64::from(k / 5 % 5 - 2), f64::from(k / 25)],
            );
            [q[0] * turn.cos() - q[1] * turn.sin(), q[0] * turn.sin() + q[1] * turn.cos(), q[2]]
        };
        let mut spots: Vec<Vector> = (0..120).map(|k| point(k, if k % 2 == 0 { 0.0 } else { 0.7 })).collect();
        spots.extend(half_sphere(15).map(|direction| scale(direction, 0.13)));
        let mut search = Search::new(Arc::clone(&cell), spots.clone(), accept);
        let mut asked = 0;
        let found = loop {
            if let Some(found) = search.go_on() {
                break found;
            }
            let question = search.desk().take().expect("it waits for an answer");
            search.desk().answer(answer(question));
            asked += 1;
        };
        let expected = index_known(&cell, &spots, &accept);
        assert_eq!((found.len(), expected.len()), (2, 2));
        assert!(asked >= 4);
        for (one, other) in found.iter().zip(&expected) {
            assert_eq!((one.reciprocal, &one.spots, &one.hkl), (other.reciprocal, &other.spots, &other.hkl));
            assert_eq!((one.cell, one.residual, one.chance), (other.cell, other.residual, other.chance));
        }
    }

    #[test]
    fn of_equal_peaks_the_first_are_the_highest() {
        assert_eq!(highest(&[0.1, 0.3, 0.1, 0.4, 0.0, 0.3, 0.2, 0.4, 0.0]), [3, 7, 1]);
        assert_eq!(highest(&[0.2; 24]), [] as [usize; 0]);
    }
}
