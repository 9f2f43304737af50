//! Values with a name on the command line, written and read by that name.

use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serializer, de, ser};

pub(crate) fn serialize<T: ValueEnum, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let name = value.to_possible_value().ok_or_else(|| ser::Error::custom("a value without a name"))?;
    serializer.serialize_str(name.get_name())
}

pub(crate) fn deserialize<'de, T: ValueEnum, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::from_str(&String::deserialize(deserializer)?, false).map_err(de::Error::custom)
}
