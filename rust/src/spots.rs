//! From strong pixels to spots: 8-connected components, each measured against its local background.

use std::convert::Infallible;

use crate::background::{spread, Background};
use crate::pixel::Pixel;
use crate::plan::{Plan, NO_BIN};

/// Fewest pixels of a frame that give a local background.
const MIN_FRAME: u64 = 8;

pub const SATURATED: u8 = 2;
pub const MASKED_NEIGHBOUR: u8 = 4;

/// A strong pixel.
#[derive(Debug, Clone, Copy)]
pub struct Strong {
    pub pixel: u32,
    pub value: i64,
}

/// A spot as measured.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    pub x: f64,
    pub y: f64,
    pub intensity: f64,
    pub background: f64,
    pub snr: f64,
    pub n_pixels: u32,
    pub peak: i64,
    pub flags: u8,
}

/// Random access to the pixels of an image.
pub trait Access<T> {
    /// Why a pixel cannot be had.
    type Error;
    /// The pixel with this number.
    fn pixel(&mut self, pixel: usize) -> Result<T, Self::Error>;
}

impl<T: Copy> Access<T> for &[T] {
    type Error = Infallible;
    fn pixel(&mut self, pixel: usize) -> Result<T, Infallible> {
        Ok(self[pixel])
    }
}

/// Finds the spots of an image; reused from image to image.
#[derive(Debug, Default)]
pub struct Grouping {
    parents: Vec<u32>,
    sizes: Vec<u32>,
    starts: Vec<u32>,
    members: Vec<u32>,
    /// One bit a pixel: whether it is strong. All zero between images.
    marks: Vec<u64>,
}

/// What a spot is measured in.
struct Scene<'a> {
    plan: &'a Plan,
    strong: &'a [Strong],
    marks: &'a [u64],
    background: &'a Background,
}

/// An inclusive rectangle of pixels.
#[derive(Debug, Clone, Copy)]
struct Box2 {
    y: (usize, usize),
    x: (usize, usize),
}

impl Box2 {
    fn grown(self, by: usize, shape: (usize, usize)) -> Self {
        Self {
            y: (self.y.0.saturating_sub(by), self.y.1.saturating_add(by).min(shape.0 - 1)),
            x: (self.x.0.saturating_sub(by), self.x.1.saturating_add(by).min(shape.1 - 1)),
        }
    }

    fn holds(self, y: usize, x: usize) -> bool {
        (self.y.0..=self.y.1).contains(&y) && (self.x.0..=self.x.1).contains(&x)
    }
}

struct Local {
    n: u64,
    mean: f64,
    sigma: f64,
}

impl Grouping {
    /// Appends the accepted spots in raster order of their first pixel. `strong` is in raster order.
    pub fn spots<T: Pixel, A: Access<T>>(
        &mut self,
        plan: &Plan,
        strong: &[Strong],
        background: &Background,
        access: &mut A,
        spots: &mut Vec<Spot>,
    ) -> Result<(), A::Error> {
        self.connect(plan, strong);
        self.gather(plan, strong.len());
        self.marks.resize(plan.n_pixels().div_ceil(64), 0);
        for strong in strong {
            self.marks[strong.pixel as usize / 64] |= 1 << (strong.pixel % 64);
        }
        let scene = Scene { plan, strong, marks: &self.marks, background };
        let sets = self.starts.iter().zip(&self.sizes).filter(|(&start, _)| start != u32::MAX);
        let measured =
            sets.map(|(&start, &size)| measure(&scene, &self.members[start as usize..][..size as usize], access));
        let result = measured.filter_map(Result::transpose).try_for_each(|spot| {
            spots.push(spot?);
            Ok(())
        });
        for strong in strong {
            self.marks[strong.pixel as usize / 64] = 0;
        }
        result
    }

    /// Union-find along rows: each strong pixel joins its left neighbour and the three above it. A root is its set's first pixel.
    fn connect(&mut self, plan: &Plan, strong: &[Strong]) {
        let fast = plan.shape.1;
        self.parents.clear();
        self.parents.extend(0..strong.len() as u32);
        let mut above = 0;
        for (i, &Strong { pixel, .. }) in strong.iter().enumerate() {
            let pixel = pixel as usize;
            let x = pixel % fast;
            if i > 0 && x > 0 && strong[i - 1].pixel as usize + 1 == pixel {
                self.join(plan, strong, i - 1, i);
            }
            if pixel < fast {
                continue;
            }
            let from = pixel - fast - usize::from(x > 0);
            let to = pixel - fast + usize::from(x + 1 < fast);
            while (strong[above].pixel as usize) < from {
                above += 1;
            }
            for (j, near) in strong.iter().enumerate().skip(above) {
                if near.pixel as usize > to {
                    break;
                }
                self.join(plan, strong, j, i);
            }
        }
    }

    fn join(&mut self, plan: &Plan, strong: &[Strong], a: usize, b: usize) {
        if plan.panel(strong[a].pixel as usize) != plan.panel(strong[b].pixel as usize) {
            return;
        }
        let (a, b) = (self.root(a as u32), self.root(b as u32));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    fn root(&mut self, mut i: u32) -> u32 {
        while self.parents[i as usize] != i {
            let parent = self.parents[self.parents[i as usize] as usize];
            self.parents[i as usize] = parent;
            i = parent;
        }
        i
    }

    /// Lists the members of each set of acceptable size behind one another; `starts` says where, `u32::MAX` for no such set.
    fn gather(&mut self, plan: &Plan, n: usize) {
        self.sizes.clear();
        self.sizes.resize(n, 0);
        for i in 0..n as u32 {
            let root = self.root(i);
            self.sizes[root as usize] += 1;
        }
        self.starts.clear();
        self.members.clear();
        let mut end = 0;
        for &size in &self.sizes {
            let wanted = size > 0 && (plan.settings.min_pixels..=plan.settings.max_pixels).contains(&(size as usize));
            self.starts.push(if wanted { end } else { u32::MAX });
            end += if wanted { size } else { 0 };
        }
        self.members.resize(end as usize, 0);
        let mut filled = self.starts.clone();
        for i in 0..n as u32 {
            let root = self.root(i) as usize;
            if self.starts[root] != u32::MAX {
                self.members[filled[root] as usize] = i;
                filled[root] += 1;
            }
        }
    }
}

fn measure<T: Pixel, A: Access<T>>(
    scene: &Scene<'_>,
    members: &[u32],
    access: &mut A,
) -> Result<Option<Spot>, A::Error> {
    let Scene { plan, strong, background, .. } = *scene;
    let fast = plan.shape.1;
    let first = strong[members[0] as usize];
    let (mut sum, mut sum_x, mut sum_y, mut plain_x, mut plain_y) = (0i128, 0i128, 0i128, 0i128, 0i128);
    let mut bounds = Box2 { y: (usize::MAX, 0), x: (usize::MAX, 0) };
    let mut peak = first;
    for &member in members {
        let pixel = strong[member as usize];
        let (y, x) = (pixel.pixel as usize / fast, pixel.pixel as usize % fast);
        let value = i128::from(pixel.value);
        let (twice_x, twice_y) = (2 * x as i128 + 1, 2 * y as i128 + 1);
        sum += value;
        sum_x += value * twice_x;
        sum_y += value * twice_y;
        plain_x += twice_x;
        plain_y += twice_y;
        bounds = Box2 { y: (bounds.y.0.min(y), bounds.y.1.max(y)), x: (bounds.x.0.min(x), bounds.x.1.max(x)) };
        if pixel.value > peak.value {
            peak = pixel;
        }
    }
    let panel = plan.panel(first.pixel as usize);
    let mut local = frame(scene, bounds, panel, access)?;
    if local.n < MIN_FRAME {
        let bin = background.bins[plan.bins[peak.pixel as usize] as usize];
        if bin.n == 0 {
            return Ok(None);
        }
        local = Local { n: bin.n, mean: bin.mean, sigma: bin.sigma };
    }
    let n = members.len() as f64;
    let intensity = sum as f64 - n * local.mean;
    let variance = (local.sigma * local.sigma).max(local.mean).max(1.0 / local.n as f64);
    let snr = intensity / (variance.sqrt() * n.sqrt());
    if intensity <= 0.0 || snr < plan.settings.spot_snr {
        return Ok(None);
    }
    // A pixel below the local background has a negative weight, which must not push the centroid out of the spot.
    let centroid = |weighted: i128, plain: i128, (first, last): (usize, usize)| {
        let centre = (0.5 * weighted as f64 - local.mean * (0.5 * plain as f64)) / intensity;
        centre.clamp(first as f64 + 0.5, last as f64 + 0.5)
    };
    Ok(Some(Spot {
        x: centroid(sum_x, plain_x, bounds.x),
        y: centroid(sum_y, plain_y, bounds.y),
        intensity,
        background: local.mean,
        snr,
        n_pixels: members.len() as u32,
        peak: peak.value,
        flags: flags(scene, members, access)?,
    }))
}

/// Background statistics of the frame around a spot.
fn frame<T: Pixel, A: Access<T>>(
    scene: &Scene<'_>,
    bounds: Box2,
    panel: u16,
    access: &mut A,
) -> Result<Local, A::Error> {
    let plan = scene.plan;
    let inner = bounds.grown(1, plan.shape);
    let outer = bounds.grown(plan.settings.ring_width.saturating_add(1), plan.shape);
    let (mut n, mut first, mut second) = (0u64, 0i128, 0i128);
    for y in outer.y.0..=outer.y.1 {
        for x in outer.x.0..=outer.x.1 {
            let i = y * plan.shape.1 + x;
            if inner.holds(y, x) || plan.bins[i] == NO_BIN || plan.panel(i) != panel {
                continue;
            }
            let value = access.pixel(i)?.value();
            if !plan.settings.good(value) || plan.settings.saturated(value) || scene.marks[i / 64] >> (i % 64) & 1 == 1
            {
                continue;
            }
            n += 1;
            first += i128::from(value);
            second += i128::from(value) * i128::from(value);
        }
    }
    let (mean, sigma) = if n > 0 { (first as f64 / n as f64, spread(n, first, second)) } else { (0.0, 0.0) };
    Ok(Local { n, mean, sigma })
}

fn flags<T: Pixel, A: Access<T>>(scene: &Scene<'_>, members: &[u32], access: &mut A) -> Result<u8, A::Error> {
    let Scene { plan, strong, .. } = *scene;
    let (slow, fast) = plan.shape;
    let mut flags = 0;
    for &member in members {
        let Strong { pixel, value } = strong[member as usize];
        if plan.settings.saturated(value) {
            flags |= SATURATED;
        }
        if flags & MASKED_NEIGHBOUR != 0 {
            continue;
        }
        let (y, x) = (pixel as usize / fast, pixel as usize % fast);
        if y == 0 || x == 0 || y + 1 == slow || x + 1 == fast {
            flags |= MASKED_NEIGHBOUR;
            continue;
        }
        let panel = plan.panel(pixel as usize);
        for i in (y - 1..=y + 1).flat_map(|y| y * fast + x - 1..=y * fast + x + 1) {
            if plan.bins[i] == NO_BIN || plan.panel(i) != panel || !plan.settings.good(access.pixel(i)?.value()) {
                flags |= MASKED_NEIGHBOUR;
                break;
            }
        }
    }
    Ok(flags)
}
