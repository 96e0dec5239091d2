//! Owns arithmetic that other programs do with floats: lengths, headings,
//! decimal fractions. Never uses a float. Called by the simulation and by
//! whoever reads rules. Invariant: total, and the same bits everywhere.

/// A count as others are shown it: rounded down to one digit.
pub fn rounded(count: u64) -> u64 {
    let digits = count.checked_ilog10().unwrap_or(0);
    let unit = 10_u64.pow(digits);
    count / unit * unit
}

/// The length of (x, y), rounded down.
pub fn length(x: i64, y: i64) -> u64 {
    // Two squares of at most 2^126 fit u128, and the root of their sum u64.
    let square = |v: i64| u128::from(v.unsigned_abs()).pow(2);
    u64::try_from((square(x) + square(y)).isqrt()).unwrap_or(u64::MAX)
}

/// The length of (x, y), rounded up.
pub fn length_ceil(x: i64, y: i64) -> u64 {
    let square = |v: i64| u128::from(v.unsigned_abs()).pow(2);
    let sum = square(x) + square(y);
    let root = sum.isqrt();
    u64::try_from(root + u128::from(root * root < sum)).unwrap_or(u64::MAX)
}

/// `numerator / denominator` to the nearest integer, halves away from zero;
/// 0 when the denominator is 0.
pub fn divide_rounded(numerator: i64, denominator: i64) -> i64 {
    let (n, d) = (i128::from(numerator), i128::from(denominator));
    if d == 0 {
        return 0;
    }
    let half = d.abs() / 2 * n.signum();
    i64::try_from((n + half) / d).unwrap_or(i64::MAX)
}

/// atan(2^-i) in turns of 2^32, for CORDIC.
const ARC_TANGENTS: [i64; 20] = [
    536_870_912,
    316_933_406,
    167_458_907,
    85_004_756,
    42_667_331,
    21_354_465,
    10_679_838,
    5_340_245,
    2_670_163,
    1_335_087,
    667_544,
    333_772,
    166_886,
    83_443,
    41_722,
    20_861,
    10_430,
    5_215,
    2_608,
    1_304,
];

/// The direction of (x, y) as a binary angle: 65,536 to the turn, 0 along +x,
/// 16,384 along +y; `None` for (0, 0). Within one unit of the true angle, and
/// exact along axes and diagonals.
pub fn heading(x: i32, y: i32) -> Option<u16> {
    if (x, y) == (0, 0) {
        return None;
    }
    let (a, b) = (i64::from(x.unsigned_abs()), i64::from(y.unsigned_abs()));
    // Fold into the first octant, so that all eight are mirror images.
    let octant = arc(a.max(b), a.min(b));
    let quadrant = if b > a { 0x4000 - octant } else { octant };
    let half = if x < 0 { 0x8000 - quadrant } else { quadrant };
    let turn = if y < 0 { 0x1_0000 - half } else { half };
    Some((turn & 0xFFFF) as u16)
}

/// The angle of (x, y) for x ≥ y ≥ 0, x > 0, in turns of 65,536: CORDIC in
/// vectoring mode (J. E. Volder, 1959).
fn arc(x: i64, y: i64) -> i64 {
    // As many bits as fit: each iteration drops some.
    let shift = x.leading_zeros().saturating_sub(20);
    let (mut x, mut y, mut angle) = (x << shift, y << shift, 0);
    for (i, step) in ARC_TANGENTS.iter().enumerate() {
        let side = if y >= 0 { 1 } else { -1 };
        (x, y) = (x + side * (y >> i), y - side * (x >> i));
        angle += side * step;
    }
    (angle + (1 << 15)) >> 16
}

/// A number with at most three decimals, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thousandths(pub i64);

/// What is wrong with a decimal number written as text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a decimal number: expected digits and at most three decimals, like 12.125")]
pub struct ParseDecimalError(String);

impl std::str::FromStr for Thousandths {
    type Err = ParseDecimalError;

    /// Exact: no float is ever made of the text.
    fn from_str(text: &str) -> Result<Thousandths, ParseDecimalError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        parse_magnitude(digits)
            .map(|value| Thousandths(if negative { -value } else { value }))
            .ok_or_else(|| ParseDecimalError(text.chars().take(40).collect()))
    }
}

fn parse_magnitude(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    // `fraction` has one to three digits, so this is below 1,000.
    let thousandths: i64 = format!("{fraction:0<3}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(thousandths)
}

impl std::fmt::Display for Thousandths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, value) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        match value % 1000 {
            0 => write!(f, "{sign}{}", value / 1000),
            part => {
                let part = format!("{part:03}");
                write!(f, "{sign}{}.{}", value / 1000, part.trim_end_matches('0'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn length_is_the_root_between_two_squares(x: i64, y: i64) {
            let square = |v: u64| u128::from(v) * u128::from(v);
            let sum = square(x.unsigned_abs()) + square(y.unsigned_abs());
            let (down, up) = (length(x, y), length_ceil(x, y));
            prop_assert!(square(down) <= sum && sum <= square(up));
            prop_assert!(up - down == u64::from(square(down) != sum));
        }

        /// Counter-clockwise of another vector, in the same half turn, is more.
        #[test]
        fn heading_grows_with_the_angle(
            ax: i32, ay in 0..=i32::MAX, bx: i32, by in 0..=i32::MAX,
        ) {
            let cross = i64::from(ax) * i64::from(by) - i64::from(ay) * i64::from(bx);
            if let (true, Some(a), Some(b)) = (cross > 0, heading(ax, ay), heading(bx, by)) {
                prop_assert!(a <= b, "{a} {b}");
            }
        }

        #[test]
        fn heading_turns_with_the_vector(x in -i32::MAX..i32::MAX, y in -i32::MAX..i32::MAX) {
            let turned = heading(x, y).map(|heading| heading.wrapping_add(0x4000));
            prop_assert_eq!(heading(-y, x), turned);
        }

        #[test]
        fn division_is_off_by_at_most_half(n in -1_000_000_i64..1_000_000, d in 1_i64..5000) {
            let off = n - divide_rounded(n, d) * d;
            prop_assert!(off.abs() * 2 <= d);
            prop_assert_eq!(divide_rounded(-n, d), -divide_rounded(n, d));
        }

        #[test]
        fn division_never_panics(n: i64, d: i64) {
            divide_rounded(n, d);
        }

        #[test]
        fn decimals_are_read_as_they_are_written(value in -(1_i64 << 52)..(1 << 52)) {
            let value = Thousandths(value);
            prop_assert_eq!(value.to_string().parse(), Ok(value));
        }

        #[test]
        fn any_text_is_a_decimal_or_refused(text in ".{0,40}") {
            let _ = text.parse::<Thousandths>();
        }
    }

    #[test]
    fn counts_are_shown_by_their_first_digit() {
        let shown = [0, 7, 10, 19, 99, 100, 4_321, u64::MAX].map(rounded);
        assert_eq!(shown, [0, 7, 10, 10, 90, 100, 4_000, 10_000_000_000_000_000_000]);
    }

    #[test]
    fn headings_along_axes_and_diagonals_are_exact() {
        let cases = [
            ((1, 0), 0),
            ((5, 5), 0x2000),
            ((0, 9), 0x4000),
            ((-7, 7), 0x6000),
            ((i32::MIN, 0), 0x8000),
            ((-3, -3), 0xA000),
            ((0, i32::MIN), 0xC000),
            ((i32::MAX, -i32::MAX), 0xE000),
        ];
        for ((x, y), expected) in cases {
            assert_eq!(heading(x, y), Some(expected), "{x},{y}");
        }
        assert_eq!(heading(0, 0), None);
        // Just below the +x axis rounds up to the full turn, which is 0.
        assert_eq!(heading(i32::MAX, -1), Some(0));
    }

    #[test]
    fn headings_are_the_nearest_unit_to_the_true_angle() {
        // atan2(y, x) / 2π × 65,536, from another program.
        let cases = [
            ((1000, 1), 10),
            ((1000, 17), 177),
            ((12582, 7), 6),
            ((-3, 2), 26635),
            ((2, -3), 55285),
            ((5, 12), 12266),
            ((-2097, 1), 32763),
            ((-2096, -40), 32967),
            ((7, -1000), 49225),
            ((123456, -7890), 64870),
            ((2147483647, 2147483646), 8192),
            ((-2147483648, 2147483647), 24576),
            ((1, -2147483648), 49152),
            ((100000, 99990), 8191),
        ];
        for ((x, y), expected) in cases {
            assert_eq!(heading(x, y), Some(expected), "{x},{y}");
        }
    }

    #[test]
    fn headings_stay_the_same_for_ever() {
        let sum = (-300..300).fold(0_u64, |sum, i: i32| {
            let turned = heading(i.wrapping_mul(7_919_777), i.wrapping_mul(i).wrapping_sub(40_000));
            sum.wrapping_mul(31).wrapping_add(u64::from(turned.unwrap_or(0)))
        });
        assert_eq!(sum, 8_114_659_445_892_665_728);
    }

    #[test]
    fn reads_decimals_exactly() {
        let read = |text: &str| text.parse::<Thousandths>().map(|t| t.0).ok();
        assert_eq!(read("1.25"), Some(1250));
        assert_eq!(read("-0.001"), Some(-1));
        assert_eq!(read("60"), Some(60_000));
        assert_eq!(read("0.10"), Some(100));
        for wrong in ["", "-", ".", "1.", ".5", "1.2345", "1e3", "+1", "--1", "1,5", " 1", "1.-5"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(read("9223372036854775.807"), Some(i64::MAX));
        assert_eq!(read("9223372036854775.808"), None);
    }
}
