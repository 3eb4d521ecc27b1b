//! One image, from its stored bytes to its spots.
//!
//! A bitshuffled image is never unpacked as a whole: the sampled blocks give the thresholds, then each block is unpacked into a
//! buffer that stays in the first-level cache, compared as bit planes, and forgotten. Only around spots are blocks turned back into pixels.
//! Images stored in another way are unpacked first; the answers are the same.

use std::ops::Range;

use crate::background::Background;
use crate::chunk::{room, Block, Blocks, ChunkError, Stored, Unpacker};
use crate::dispersion;
use crate::pixel::{from_bytes, Pixel};
use crate::plan::{Algorithm, Plan, NO_BIN, UNIT};
use crate::planes::{compare, unshuffle, Planes, SEGMENT};
use crate::spots::{Access, Grouping, Spot, Strong};

/// Pixels of the largest block that is searched as bit planes.
const LARGEST_BLOCK: usize = 1 << 17;

/// What was found on an image; the spots are those appended to the caller's list.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Spots accepted, also those beyond the number that is kept.
    pub n_spots: usize,
    pub n_strong: usize,
    pub n_saturated: usize,
    /// Largest good count; -1 without one.
    pub largest: i64,
    pub background: f64,
}

/// Working memory for one image; reused from image to image.
#[derive(Default)]
pub struct Finder<T> {
    blocks: Blocks,
    unpacker: Unpacker,
    /// One unpacked block.
    buffer: Vec<u8>,
    /// One block as pixels.
    pixels: Vec<T>,
    /// The whole image, where it has to be unpacked.
    image: Vec<T>,
    above: Vec<u64>,
    /// Of each segment of a block: below it no pixel is strong, or larger than the largest so far.
    limits: Vec<i64>,
    candidates: Candidates,
    lowest: LowestInRange,
    background: Background,
    strong: Vec<Strong>,
    grouping: Grouping,
    cache: Cache<T>,
    accepted: Vec<Spot>,
}

impl<T: Pixel> Finder<T> {
    /// Searches a stored image; appends its spots.
    ///
    /// # Panics
    /// If there are fewer bytes than are said to be stored.
    pub fn find_stored(&mut self, plan: &Plan, stored: Stored<'_>, spots: &mut Vec<Spot>) -> Result<Found, ChunkError> {
        assert!(stored.size <= stored.bytes.len());
        self.blocks.walk(stored, plan.n_pixels(), T::SIZE)?;
        self.buffer.resize(room(self.blocks.pixels_per_block, T::SIZE), 0);
        // Blocks that are pixels, not whole segments, or too large to be unpacked twice for the sample, and the dispersion test,
        // need the image itself.
        if !stored.codec.shuffled()
            || !self.blocks.pixels_per_block.is_multiple_of(SEGMENT)
            || self.blocks.pixels_per_block > LARGEST_BLOCK
            || plan.settings.algorithm == Algorithm::Dispersion
        {
            let mut image = std::mem::take(&mut self.image);
            let found = self.unpack(plan, stored, &mut image).map(|()| self.find(plan, &image, spots));
            self.image = image;
            return found;
        }
        self.sample(plan, stored)?;
        self.candidates.start(self.background.largest);
        for block in 0..self.blocks.all().len() {
            let zeros = self.blocks.unpack(plan.cpu, stored, block, &mut self.buffer, &mut self.unpacker)?;
            let whole = self.blocks.all()[block];
            if whole.planes && whole.len.is_multiple_of(SEGMENT) {
                self.search_planes(plan, whole, &zeros);
            } else {
                to_pixels(plan, whole, (&self.buffer, zeros), &mut self.pixels);
                let pixels = std::mem::take(&mut self.pixels);
                self.search_pixels(plan, whole.first, &pixels);
                self.pixels = pixels;
            }
        }
        self.candidates.judge(plan, &self.background, &mut self.strong);
        let Self { blocks, unpacker, buffer, cache, grouping, accepted, strong, background, .. } = self;
        cache.start(blocks.all().len());
        let mut access = CachedBlocks { plan, stored, blocks, unpacker, buffer, cache };
        accepted.clear();
        grouping.spots(plan, strong, background, &mut access, accepted)?;
        Ok(self.found(plan, spots))
    }

    /// Searches an unpacked image; appends its spots.
    pub fn find(&mut self, plan: &Plan, image: &[T], spots: &mut Vec<Spot>) -> Found {
        self.background.take(plan, image);
        self.lowest.build(plan, &self.background);
        self.candidates.start(self.background.largest);
        self.search_pixels(plan, 0, image);
        match plan.settings.algorithm {
            Algorithm::Radial => self.candidates.judge(plan, &self.background, &mut self.strong),
            Algorithm::Dispersion => dispersion::strong_pixels(plan, image, &mut self.strong),
        }
        self.accepted.clear();
        let Ok(()) = self.grouping.spots(plan, &self.strong, &self.background, &mut { image }, &mut self.accepted);
        self.found(plan, spots)
    }

    fn found(&mut self, plan: &Plan, spots: &mut Vec<Spot>) -> Found {
        let n_spots = self.accepted.len();
        keep_strongest(&mut self.accepted, plan.settings.max_spots);
        spots.extend_from_slice(&self.accepted);
        Found {
            n_spots,
            n_strong: self.strong.len(),
            n_saturated: self.candidates.n_saturated(plan),
            largest: self.candidates.largest,
            background: self.background.level,
        }
    }

    fn unpack(&mut self, plan: &Plan, stored: Stored<'_>, image: &mut Vec<T>) -> Result<(), ChunkError> {
        image.resize(plan.n_pixels(), T::default());
        for block in 0..self.blocks.all().len() {
            let zeros = self.blocks.unpack(plan.cpu, stored, block, &mut self.buffer, &mut self.unpacker)?;
            let Block { first, len, .. } = self.blocks.all()[block];
            to_pixels(plan, self.blocks.all()[block], (&self.buffer, zeros), &mut self.pixels);
            image[first..first + len].copy_from_slice(&self.pixels);
        }
        Ok(())
    }

    /// Background and thresholds from the sampled units.
    fn sample(&mut self, plan: &Plan, stored: Stored<'_>) -> Result<(), ChunkError> {
        self.background.start(plan);
        let per_block = self.blocks.pixels_per_block;
        let mut unpacked = None;
        for &unit in &plan.sample {
            let start = unit as usize * UNIT;
            let end = (start + UNIT).min(plan.n_pixels());
            for block in start / per_block..self.blocks.all().len() {
                let whole = self.blocks.all()[block];
                if whole.first >= end {
                    break;
                }
                // Several units may lie in one block.
                if unpacked != Some(block) {
                    let zeros = self.blocks.unpack(plan.cpu, stored, block, &mut self.buffer, &mut self.unpacker)?;
                    to_pixels(plan, whole, (&self.buffer, zeros), &mut self.pixels);
                    unpacked = Some(block);
                }
                let (from, to) = (start.max(whole.first), end.min(whole.first + whole.len));
                if from < to {
                    self.background.add(plan, from, &self.pixels[from - whole.first..to - whole.first]);
                }
            }
        }
        self.background.finish(plan);
        self.lowest.build(plan, &self.background);
        Ok(())
    }

    /// Searches the block of bit planes in the buffer.
    fn search_planes(&mut self, plan: &Plan, block: Block, zeros: &Range<usize>) {
        let stride = block.len / 8;
        let segments = &plan.segments[block.first / SEGMENT..][..block.len / SEGMENT];
        self.limits.clear();
        self.limits.extend(segments.iter().map(|&range| self.lowest.of(range).min(self.candidates.largest)));
        self.above.resize(stride / 8, 0);
        let valid = &plan.valid[block.first / 8..][..stride];
        let planes = Planes::new(&self.buffer, stride, zeros);
        if !compare::<T>(plan.cpu, planes, valid, &self.limits, &mut self.above) {
            return;
        }
        for (word, &bits) in self.above.iter().enumerate() {
            let mut bits = bits;
            while bits != 0 {
                let i = 64 * word + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                self.candidates.add(plan, block.first + i, planes.pixel::<T>(i).value());
            }
        }
    }

    /// Searches consecutive pixels from pixel `first` on.
    fn search_pixels(&mut self, plan: &Plan, first: usize, pixels: &[T]) {
        const PIECE: usize = 64;
        let mut at = 0;
        while at < pixels.len() {
            let segment = (first + at) / SEGMENT;
            let end = pixels.len().min((segment + 1) * SEGMENT - first);
            let low = self.lowest.of(plan.segments[segment]).min(self.candidates.largest);
            let limit = T::nearest(low);
            let pieces = if low < T::LARGEST { at..end } else { end..end };
            for start in pieces.step_by(PIECE) {
                let piece = &pixels[start..end.min(start + PIECE)];
                // One pass without branches tells most pieces apart.
                if low >= 0 && !piece.iter().fold(false, |any, &pixel| any | (pixel > limit)) {
                    continue;
                }
                for (i, &pixel) in piece.iter().enumerate().filter(|&(_, &pixel)| low < 0 || pixel > limit) {
                    let i = first + start + i;
                    if plan.bins[i] != NO_BIN {
                        self.candidates.add(plan, i, pixel.value());
                    }
                }
            }
            at = end;
        }
    }
}

/// The good pixels that passed the coarse comparison.
#[derive(Default)]
struct Candidates {
    pixels: Vec<Strong>,
    /// Largest good count so far; -1 without one.
    largest: i64,
}

impl Candidates {
    fn start(&mut self, largest: i64) {
        self.pixels.clear();
        self.largest = largest;
    }

    #[inline(always)]
    fn add(&mut self, plan: &Plan, pixel: usize, value: i64) {
        if value >= 0 && plan.settings.good(value) {
            self.largest = self.largest.max(value);
            self.pixels.push(Strong { pixel: pixel as u32, value });
        }
    }

    /// Judges each by the threshold of its bin. The table of bins is larger than the caches: one pass over all candidates, without
    /// branches, lets the processor wait for many entries at once.
    fn judge(&self, plan: &Plan, background: &Background, strong: &mut Vec<Strong>) {
        strong.clear();
        strong.resize(self.pixels.len(), Strong { pixel: 0, value: 0 });
        let mut n = 0;
        for &pixel in &self.pixels {
            let bin = plan.bins[pixel.pixel as usize];
            strong[n] = pixel;
            n += usize::from(pixel.value > background.bins[bin as usize].threshold);
        }
        strong.truncate(n);
    }

    fn n_saturated(&self, plan: &Plan) -> usize {
        self.pixels.iter().filter(|pixel| plan.settings.saturated(pixel.value)).count()
    }
}

/// Unpacked block to pixels.
fn to_pixels<T: Pixel>(plan: &Plan, block: Block, (buffer, zeros): (&[u8], Range<usize>), pixels: &mut Vec<T>) {
    pixels.resize(block.len, T::default());
    if block.planes {
        unshuffle(plan.cpu, Planes::new(buffer, block.len / 8, &zeros), pixels);
    } else {
        from_bytes(buffer, pixels);
    }
}

/// Keeps the `n` strongest in their order; of equals, the earlier.
fn keep_strongest(spots: &mut Vec<Spot>, n: usize) {
    if spots.len() <= n {
        return;
    }
    let mut order: Vec<usize> = (0..spots.len()).collect();
    order.sort_by(|&a, &b| spots[b].intensity.total_cmp(&spots[a].intensity));
    order.truncate(n);
    order.sort_unstable();
    *spots = order.into_iter().map(|i| spots[i]).collect();
}

/// Lowest threshold of any range of bins, by a sparse table: two look-ups a range.
#[derive(Debug, Default)]
struct LowestInRange {
    /// Row k holds the lowest of 2^k consecutive bins.
    rows: Vec<Vec<i64>>,
}

impl LowestInRange {
    fn build(&mut self, plan: &Plan, background: &Background) {
        // Saturated pixels are counted in every bin, also in one that has no threshold.
        let saturated = plan.settings.saturation.map_or(i64::MAX, |limit| limit - 1);
        let n = background.bins.len();
        let levels = n.max(1).ilog2() as usize + 1;
        self.rows.resize_with(levels, Vec::new);
        self.rows[0].clear();
        self.rows[0].extend(background.bins.iter().map(|bin| bin.threshold.min(saturated)));
        for level in 1..levels {
            let half = 1 << (level - 1);
            let (done, rest) = self.rows.split_at_mut(level);
            let previous = &done[level - 1];
            rest[0].clear();
            rest[0].extend((0..=n - 2 * half).map(|i| previous[i].min(previous[i + half])));
        }
    }

    #[inline(always)]
    fn of(&self, (low, high): (u16, u16)) -> i64 {
        if low > high {
            return i64::MAX;
        }
        let (low, high) = (low as usize, high as usize);
        let level = (high - low + 1).ilog2();
        let row = &self.rows[level as usize];
        row[low].min(row[high + 1 - (1 << level)])
    }
}

/// Blocks turned back into pixels around spots.
#[derive(Default)]
struct Cache<T> {
    /// Place of each block in `pixels`, `u32::MAX` where it is not there.
    places: Vec<u32>,
    pixels: Vec<Vec<T>>,
    used: usize,
}

impl<T> Cache<T> {
    fn start(&mut self, blocks: usize) {
        self.places.clear();
        self.places.resize(blocks, u32::MAX);
        self.used = 0;
    }
}

struct CachedBlocks<'a, T> {
    plan: &'a Plan,
    stored: Stored<'a>,
    blocks: &'a Blocks,
    unpacker: &'a mut Unpacker,
    buffer: &'a mut Vec<u8>,
    cache: &'a mut Cache<T>,
}

impl<T: Pixel> Access<T> for CachedBlocks<'_, T> {
    type Error = ChunkError;

    #[inline]
    fn pixel(&mut self, pixel: usize) -> Result<T, ChunkError> {
        let block = self.block_of(pixel);
        let mut place = self.cache.places[block] as usize;
        if place == u32::MAX as usize {
            place = self.cache.used;
            self.load(block, place)?;
        }
        Ok(self.cache.pixels[place][pixel - self.blocks.all()[block].first])
    }
}

impl<T: Pixel> CachedBlocks<'_, T> {
    fn block_of(&self, pixel: usize) -> usize {
        let block = (pixel / self.blocks.pixels_per_block).min(self.blocks.all().len() - 1);
        // The few pixels behind the last whole eight have a block of their own, which may begin inside a block's length.
        let next = self.blocks.all().get(block + 1);
        if next.is_some_and(|next| pixel >= next.first) {
            block + 1
        } else {
            block
        }
    }

    #[cold]
    fn load(&mut self, block: usize, place: usize) -> Result<(), ChunkError> {
        let zeros = self.blocks.unpack(self.plan.cpu, self.stored, block, self.buffer, self.unpacker)?;
        if self.cache.pixels.len() == place {
            self.cache.pixels.push(Vec::new());
        }
        to_pixels(self.plan, self.blocks.all()[block], (self.buffer, zeros), &mut self.cache.pixels[place]);
        self.cache.places[block] = place as u32;
        self.cache.used += 1;
        Ok(())
    }
}
