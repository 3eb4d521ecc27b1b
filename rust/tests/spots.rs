//! Spots at edges, corners and seams, on images where the right answer can be worked out by hand.

use _core::find::Finder;
use _core::plan::{Algorithm, Plan, Settings};
use _core::spots::{Spot, MASKED_NEIGHBOUR, SATURATED};

fn settings() -> Settings {
    Settings {
        algorithm: Algorithm::Radial,
        snr: 5.0,
        min_count: 3,
        min_pixels: 1,
        max_pixels: 50,
        spot_snr: 3.0,
        ring_width: 2,
        max_spots: 100,
        underload: 0,
        saturation: None,
        error_value: None,
    }
}

/// One bin, one panel, every pixel valid but those given.
fn plan(shape: (usize, usize), settings: Settings, masked: &[(usize, usize)], panels: Vec<u16>) -> Plan {
    let n = shape.0 * shape.1;
    let mut valid = vec![true; n];
    for &(y, x) in masked {
        valid[y * shape.1 + x] = false;
    }
    Plan::new(settings, shape, vec![0; n], &valid, panels, vec![true])
}

fn spots(plan: &Plan, bright: &[(usize, usize, u16)]) -> Vec<Spot> {
    let mut image = vec![1u16; plan.n_pixels()];
    for &(y, x, value) in bright {
        image[y * plan.shape.1 + x] = value;
    }
    let mut spots = Vec::new();
    let found = Finder::default().find(plan, &image, &mut spots);
    assert_eq!((found.n_spots, found.n_strong), (spots.len(), bright.len()));
    spots
}

#[test]
fn one_bright_pixel_anywhere() {
    for shape in [(1, 1), (1, 40), (40, 1), (2, 30), (30, 2), (3, 3), (17, 23)] {
        let plan = plan(shape, settings(), &[], Vec::new());
        for y in 0..shape.0 {
            for x in 0..shape.1 {
                let mut image = vec![1u16; shape.0 * shape.1];
                image[y * shape.1 + x] = 100;
                let mut spots = Vec::new();
                let found = Finder::default().find(&plan, &image, &mut spots);
                if shape.0 * shape.1 < 200 {
                    // Too few pixels: the bright one may be its own background. Only: nothing breaks.
                    assert!(found.n_spots <= 1);
                    continue;
                }
                assert_eq!(found.n_spots, 1);
                let spot = spots[0];
                assert_eq!((spot.x, spot.y), (x as f64 + 0.5, y as f64 + 0.5));
                assert_eq!((spot.intensity, spot.background, spot.n_pixels, spot.peak), (99.0, 1.0, 1, 100));
                let edge = y == 0 || x == 0 || y + 1 == shape.0 || x + 1 == shape.1;
                assert_eq!(spot.flags, if edge { MASKED_NEIGHBOUR } else { 0 });
            }
        }
    }
}

#[test]
fn the_end_of_a_row_is_no_neighbour_of_the_next_rows_start() {
    let plan = plan((12, 20), settings(), &[], Vec::new());
    let found = spots(&plan, &[(4, 19, 50), (5, 0, 60), (8, 19, 50), (10, 0, 60)]);
    let places: Vec<_> = found.iter().map(|spot| (spot.x, spot.y, spot.n_pixels)).collect();
    assert_eq!(places, [(19.5, 4.5, 1), (0.5, 5.5, 1), (19.5, 8.5, 1), (0.5, 10.5, 1)]);
}

#[test]
fn diagonals_connect_even_in_corners() {
    let plan = plan((12, 20), settings(), &[], Vec::new());
    let found = spots(&plan, &[(0, 1, 50), (1, 0, 50), (10, 19, 50), (11, 18, 50)]);
    let places: Vec<_> = found.iter().map(|spot| (spot.x, spot.y, spot.n_pixels)).collect();
    assert_eq!(places, [(1.0, 1.0, 2), (19.0, 11.0, 2)]);
}

#[test]
fn arms_that_meet_low_are_one_spot() {
    let plan = plan((20, 20), settings(), &[], Vec::new());
    let u = [(5, 5, 50), (6, 5, 50), (7, 6, 50), (7, 7, 50), (6, 8, 50), (5, 8, 50), (4, 8, 50)];
    let found = spots(&plan, &u);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].n_pixels, found[0].intensity), (7, 7.0 * 49.0));
}

#[test]
fn panels_cut_spots_and_their_frames() {
    let shape = (12, 20);
    let panels = (0..240).map(|i| u16::from(i % 20 >= 10)).collect();
    let plan = plan(shape, settings(), &[], panels);
    let found = spots(&plan, &[(5, 9, 50), (5, 10, 50)]);
    let places: Vec<_> = found.iter().map(|spot| (spot.x, spot.n_pixels, spot.flags)).collect();
    assert_eq!(places, [(9.5, 1, MASKED_NEIGHBOUR), (10.5, 1, MASKED_NEIGHBOUR)]);
}

#[test]
fn flags_and_limits() {
    let limits = Settings { saturation: Some(90), error_value: Some(70), max_pixels: 3, ..settings() };
    let plan = plan((40, 40), limits, &[(20, 20)], Vec::new());
    let bright = [
        (5, 5, 95),
        (10, 10, 50),
        (21, 21, 50),
        // Four pixels are more than three.
        (30, 5, 50),
        (30, 6, 50),
        (30, 7, 50),
        (30, 8, 50),
    ];
    let mut image = vec![1u16; 1600];
    for &(y, x, value) in &bright {
        image[y * 40 + x] = value;
    }
    // Not good, so not strong, and a masked neighbour.
    image[11 * 40 + 11] = 70;
    let mut spots = Vec::new();
    let found = Finder::default().find(&plan, &image, &mut spots);
    assert_eq!((found.n_strong, found.n_saturated, found.largest), (7, 1, 95));
    let flags: Vec<_> = spots.iter().map(|spot| (spot.x, spot.flags)).collect();
    assert_eq!(flags, [(5.5, SATURATED), (10.5, MASKED_NEIGHBOUR), (21.5, MASKED_NEIGHBOUR)]);
}

#[test]
fn of_many_spots_the_strongest_stay_in_raster_order() {
    let few = Settings { max_spots: 2, ..settings() };
    let plan = plan((40, 40), few, &[], Vec::new());
    let mut image = vec![1u16; 1600];
    for (i, value) in [(5, 50), (10, 80), (15, 60), (20, 80), (25, 80)] {
        image[i * 40 + i] = value;
    }
    let mut spots = Vec::new();
    let found = Finder::default().find(&plan, &image, &mut spots);
    assert_eq!((found.n_spots, found.n_strong), (5, 5));
    assert_eq!(spots.iter().map(|spot| spot.x).collect::<Vec<_>>(), [10.5, 20.5]);
}

#[test]
fn a_ring_wider_than_the_image_is_the_image() {
    let all = |ring_width| plan((21, 21), Settings { ring_width, ..settings() }, &[], Vec::new());
    let spot = |ring_width| spots(&all(ring_width), &[(10, 10, 50)])[0].snr;
    assert_eq!(spot(usize::MAX), spot(30));
}
