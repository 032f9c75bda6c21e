//! Values: how each kind is written in TOML and in a variable.

use toml::de::DeValue;

/// A kind of value.
pub(super) trait Value: Sized {
    /// What it must be, for the message.
    const KIND: &'static str;

    /// From the file.
    fn of_toml(value: &DeValue<'_>) -> Option<Self>;

    /// From a variable.
    fn of_text(text: &str) -> Option<Self>;
}

impl Value for u64 {
    const KIND: &'static str = "a whole number, not negative";

    fn of_toml(value: &DeValue<'_>) -> Option<Self> {
        let integer = value.as_integer()?;
        Self::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    /// Underscores between digits, as in TOML.
    fn of_text(text: &str) -> Option<Self> {
        text.replace('_', "").parse().ok()
    }
}

impl Value for f64 {
    const KIND: &'static str = "a number";

    fn of_toml(value: &DeValue<'_>) -> Option<Self> {
        let float = value.as_float().and_then(|float| float.as_str().parse().ok());
        float.or_else(|| {
            let integer = value.as_integer()?;
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|whole| whole as Self)
        })
    }

    fn of_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for bool {
    const KIND: &'static str = "true or false";

    fn of_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }

    fn of_text(text: &str) -> Option<Self> {
        text.to_ascii_lowercase().parse().ok()
    }
}

impl Value for String {
    const KIND: &'static str = "a text in quotes";

    fn of_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn of_text(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Value for Vec<f64> {
    const KIND: &'static str = "a list of numbers";

    fn of_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_array()?.iter().map(|entry| f64::of_toml(entry.get_ref())).collect()
    }

    fn of_text(text: &str) -> Option<Self> {
        text.split(',').map(|entry| f64::of_text(entry.trim())).collect()
    }
}

/// One text is a list of one; a variable separates them by commas.
impl Value for Vec<String> {
    const KIND: &'static str = "a list of texts in quotes";

    fn of_toml(value: &DeValue<'_>) -> Option<Self> {
        match value.as_array() {
            Some(array) => array.iter().map(|entry| String::of_toml(entry.get_ref())).collect(),
            None => String::of_toml(value).map(|text| vec![text]),
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        Some(text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect())
    }
}
