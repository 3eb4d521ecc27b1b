//! Strong pixels by local mean and variance (Winter et al., Acta Cryst. D74 (2018) 85), on unpacked pixels.

use crate::pixel::Pixel;
use crate::plan::{Plan, NO_BIN};
use crate::spots::Strong;

/// The window reaches this many pixels to either side.
const HALF: usize = 3;
/// By how many standard deviations a window varies more than its mean allows, and a pixel stands above it.
const NSIG_B: f64 = 6.0;
const NSIG_S: f64 = 3.0;

#[derive(Clone, Copy, Default)]
struct Window {
    n: i64,
    sum: i64,
    squares: i128,
}

/// Lists the strong pixels of an image, in raster order.
pub fn strong_pixels<T: Pixel>(plan: &Plan, pixels: &[T], strong: &mut Vec<Strong>) {
    let (slow, fast) = plan.shape;
    strong.clear();
    for y in 0..slow {
        for x in 0..fast {
            let i = y * fast + x;
            let value = pixels[i].value();
            if plan.bins[i] == NO_BIN || value <= 0 || !plan.settings.good(value) {
                continue;
            }
            if stands_out(value, window(plan, pixels, y, x)) {
                strong.push(Strong { pixel: i as u32, value });
            }
        }
    }
}

fn window<T: Pixel>(plan: &Plan, pixels: &[T], y: usize, x: usize) -> Window {
    let (slow, fast) = plan.shape;
    let panel = plan.panel(y * fast + x);
    let mut window = Window::default();
    for yy in y.saturating_sub(HALF)..(y + HALF + 1).min(slow) {
        let row = yy * fast + x.saturating_sub(HALF)..yy * fast + (x + HALF + 1).min(fast);
        for (i, pixel) in row.clone().zip(&pixels[row]) {
            let value = pixel.value();
            if plan.bins[i] != NO_BIN
                && plan.panel(i) == panel
                && plan.settings.good(value)
                && !plan.settings.saturated(value)
            {
                window.n += 1;
                window.sum += value;
                window.squares += i128::from(value) * i128::from(value);
            }
        }
    }
    window
}

fn stands_out(value: i64, window: Window) -> bool {
    let Window { n, sum, squares } = window;
    if n < 2 {
        return false;
    }
    let a = i128::from(n) * squares - i128::from(sum) * i128::from(sum) - i128::from(sum) * i128::from(n - 1);
    let b = i128::from(n) * i128::from(value) - i128::from(sum);
    let positive = sum.max(0) as f64;
    let c = positive * NSIG_B * (2.0 * (n - 1) as f64).sqrt();
    let d = NSIG_S * (positive * n as f64).sqrt();
    a as f64 > c && b as f64 > d
}
