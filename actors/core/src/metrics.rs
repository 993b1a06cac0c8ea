//! Figures of a service's own: what it may give, and what is kept of it.
//!
//! Of each figure the latest value is kept, and a roll-up of all values since the present life
//! began. Roll-ups [merge](Rollup::merge): whoever keeps one a minute for the history makes
//! hours and days of them, and loses nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::event::Moment;

/// The most figures that one pulse may carry, and that are kept of one service.
pub const MOST: usize = 32;

/// The most bytes of a figure's name.
pub const MOST_NAME: usize = 64;

/// Why a figure is not taken. The text begins with the field that it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFigure {
    /// There are more than [`MOST`].
    #[error("metrics: more than {MOST} of them")]
    TooMany,
    /// Its name is none.
    #[error("metrics: {0:?} is no name of 1 to {MOST_NAME} characters a-z, 0-9 and _")]
    Name(String),
    /// It is given twice.
    #[error("metrics.{0}: given twice")]
    Twice(String),
    /// It is no number, not a number, or infinite.
    #[error("metrics.{0}: {1} is no finite number")]
    Value(String, String),
}

/// Figures as somebody gives them, each checked before it is taken.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures(Vec<(String, f64)>);

/// Many values in four numbers. None of them ever overflows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rollup {
    /// How many values.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// Their arithmetic mean.
    pub mean: f64,
    /// The largest.
    pub max: f64,
}

/// What is kept of one figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Its latest value.
    pub value: f64,
    /// When that was received.
    pub at: Moment,
    /// All values of this life.
    #[serde(flatten)]
    pub rollup: Rollup,
}

/// What is kept of a service's figures: at most [`MOST`], by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Metrics(BTreeMap<Box<str>, Metric>);

/// Whether that may be a figure's name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let known = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(known)
}

// === impl Figures ===

impl Figures {
    /// Takes one more.
    ///
    /// # Errors
    /// Where it cannot be taken; those before it are.
    pub fn push(&mut self, name: &str, value: f64) -> Result<(), BadFigure> {
        if self.0.len() == MOST {
            return Err(BadFigure::TooMany);
        }
        if !is_name(name) {
            return Err(BadFigure::Name(shortened(name)));
        }
        if self.0.iter().any(|(other, _)| other == name) {
            return Err(BadFigure::Twice(name.to_owned()));
        }
        if !value.is_finite() {
            return Err(BadFigure::Value(name.to_owned(), value.to_string()));
        }
        self.0.push((name.to_owned(), value));
        Ok(())
    }

    /// All that were taken, in order.
    #[must_use]
    pub fn into_vec(self) -> Vec<(String, f64)> {
        self.0
    }
}

impl BadFigure {
    /// That the value of a figure, as it was written, is none.
    #[must_use]
    pub fn value(name: &str, written: &str) -> Self {
        Self::Value(name.to_owned(), shortened(written))
    }
}

/// Enough of a text to know it by.
fn shortened(text: &str) -> String {
    const MOST_CHARS: usize = 80;
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

// === impl Rollup ===

impl Rollup {
    /// Of one value.
    #[must_use]
    pub fn of(value: f64) -> Self {
        Self {
            count: 1,
            min: value,
            mean: value,
            max: value,
        }
    }

    /// Takes one more value.
    pub fn add(&mut self, value: f64) {
        self.merge(&Self::of(value));
    }

    /// Takes all values of another one.
    pub fn merge(&mut self, other: &Self) {
        let count = self.count.saturating_add(other.count);
        if count == 0 {
            return;
        }
        // Each mean by its weight: their difference, or a sum, could be beyond all numbers.
        let weight = |part: u64| part as f64 / count as f64;
        let mean = self.mean * weight(self.count) + other.mean * weight(other.count);
        self.count = count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.mean = mean.clamp(self.min, self.max);
    }
}

// === impl Metrics ===

impl Metrics {
    /// Takes a value received then. Of more than [`MOST`] names the one that was given longest
    /// ago makes room; what could not have been [`Figures::push`]ed is not taken.
    pub fn take(&mut self, name: &str, value: f64, at: Moment) {
        if !value.is_finite() || !is_name(name) {
            return;
        }
        if let Some(metric) = self.0.get_mut(name) {
            metric.value = value;
            metric.at = at;
            metric.rollup.add(value);
            return;
        }
        while self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, metric)| metric.at.time);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            self.0.remove(&oldest);
        }
        let rollup = Rollup::of(value);
        self.0.insert(name.into(), Metric { value, at, rollup });
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Metric)> {
        self.0.iter().map(|(name, metric)| (&**name, metric))
    }
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // By another hand there may be any number of anything.
        let all: BTreeMap<String, Metric> = BTreeMap::deserialize(from)?;
        let kept = all.into_iter().filter(|(name, _)| is_name(name)).take(MOST);
        Ok(Self(kept.map(|(name, at)| (name.into(), at)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Time;

    fn at(seconds: u64) -> Moment {
        Moment {
            time: Time(seconds),
            ..Moment::default()
        }
    }

    fn get<'a>(metrics: &'a Metrics, name: &str) -> &'a Metric {
        let mut all = metrics.iter();
        all.find(|(known, _)| *known == name).expect("it is kept").1
    }

    #[test]
    fn the_latest_value_and_the_roll_up_of_all_are_kept() {
        let mut metrics = Metrics::default();
        for (second, value) in [(1, 4.0), (2, -2.0), (3, 7.0)] {
            metrics.take("queue", value, at(second));
        }
        let queue = get(&metrics, "queue");
        assert_eq!((queue.value, queue.at), (7.0, at(3)));
        let Rollup {
            count,
            min,
            mean,
            max,
        } = queue.rollup;
        assert_eq!((count, min, max), (3, -2.0, 7.0));
        assert!((mean - 3.0).abs() < 1e-12, "{mean}");
    }

    #[test]
    fn of_too_many_names_the_one_given_longest_ago_makes_room() {
        let mut metrics = Metrics::default();
        for n in 0..MOST as u64 {
            metrics.take(&format!("m{n}"), 0.0, at(n));
        }
        metrics.take("m0", 1.0, at(100));
        metrics.take("new", 1.0, at(101));
        let names: Vec<_> = metrics.iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names.len(), MOST);
        for (name, kept) in [("m0", true), ("m1", false), ("m2", true), ("new", true)] {
            assert_eq!(names.iter().any(|known| known == name), kept, "{name}");
        }
    }

    #[test]
    fn every_bad_figure_is_refused_by_its_name() {
        let mut figures = Figures::default();
        figures.push("a_1", 1.5).unwrap();
        let long = "x".repeat(MOST_NAME + 1);
        let quoted = format!("metrics: {long:?} is no name of 1 to 64 characters a-z, 0-9 and _");
        for (name, value, said) in [
            ("a_1", 2.0, "metrics.a_1: given twice"),
            ("b", f64::NAN, "metrics.b: NaN is no finite number"),
            ("b", f64::INFINITY, "metrics.b: inf is no finite number"),
            (
                "",
                1.0,
                "metrics: \"\" is no name of 1 to 64 characters a-z, 0-9 and _",
            ),
            (
                "A",
                1.0,
                "metrics: \"A\" is no name of 1 to 64 characters a-z, 0-9 and _",
            ),
            (&long, 1.0, &quoted),
        ] {
            assert_eq!(figures.push(name, value).unwrap_err().to_string(), said);
        }
        for n in 1..MOST {
            figures.push(&format!("n{n}"), 0.0).unwrap();
        }
        assert_eq!(figures.push("more", 0.0), Err(BadFigure::TooMany));
        assert_eq!(figures.into_vec().len(), MOST);
    }

    #[test]
    fn what_another_hand_has_remembered_is_bounded_too() {
        let one = r#"{"value":1.0,"at":{"time":1,"mono":1,"wall":1},"count":1,"min":1.0,"mean":1.0,"max":1.0}"#;
        let many: Vec<_> = (0..1_000).map(|n| format!("\"m{n}\":{one}")).collect();
        let text = format!("{{\"BAD\":{one},{}}}", many.join(","));
        let metrics: Metrics = serde_json::from_str(&text).unwrap();
        assert_eq!(metrics.iter().count(), MOST);
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            -1e3..1e3,
            any::<f64>().prop_filter("finite", |value| value.is_finite()),
        ]
    }

    proptest! {
        #[test]
        fn a_roll_up_is_what_its_values_come_to(values in prop::collection::vec(value(), 1..50)) {
            let mut rollup = Rollup::of(values[0]);
            for value in &values[1..] {
                rollup.add(*value);
            }
            let min = values.iter().copied().fold(f64::INFINITY, f64::min);
            let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!((rollup.count, rollup.min, rollup.max), (values.len() as u64, min, max));
            prop_assert!(rollup.mean.is_finite());
            let scale = min.abs().max(max.abs()).max(f64::MIN_POSITIVE);
            let n = values.len() as f64;
            let mean: f64 = values.iter().map(|value| value / n).sum();
            prop_assert!((rollup.mean - mean).abs() <= scale * 1e-9, "{} {}", rollup.mean, mean);
        }

        #[test]
        fn merging_is_the_same_as_adding_one_by_one(
            values in prop::collection::vec(-1e6..1e6, 2..50),
            cut in 1_usize..49,
        ) {
            let of = |values: &[f64]| {
                let mut rollup = Rollup::of(values[0]);
                for value in &values[1..] {
                    rollup.add(*value);
                }
                rollup
            };
            let cut = cut.min(values.len() - 1);
            let mut merged = of(&values[..cut]);
            merged.merge(&of(&values[cut..]));
            let whole = of(&values);
            prop_assert_eq!((merged.count, merged.min, merged.max), (whole.count, whole.min, whole.max));
            prop_assert!((merged.mean - whole.mean).abs() < 1e-6);
        }

        #[test]
        fn no_figure_makes_it_grow_or_break(
            given in prop::collection::vec(("[a-zA-Z0-9_]{0,70}", any::<f64>()), 0..200),
        ) {
            let mut metrics = Metrics::default();
            for (second, (name, value)) in given.iter().enumerate() {
                metrics.take(name, *value, at(second as u64));
            }
            prop_assert!(metrics.iter().count() <= MOST);
            let text = serde_json::to_string(&metrics).unwrap();
            let read: Metrics = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read.iter().count(), metrics.iter().count());
        }
    }
}
