//! Owns reading a message's struct out of a JSON value so that an error names
//! the path of the field and what was expected there, which `serde_json`'s
//! own reader does not keep.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, EnumAccess, Unexpected, VariantAccess, Visitor};
use serde_json::{Map, Value};

use crate::protocol::read_error::ReadError;

/// Reads from one value.
#[derive(Clone, Copy)]
pub struct Reader<'de>(pub &'de Value);

impl<'de> de::Deserializer<'de> for Reader<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => visit_number(number, visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(values) => visitor.visit_seq(Elements { values, next: 0 }),
            Value::Object(fields) => {
                visitor.visit_map(Fields { fields: fields.iter(), open: None })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(StrDeserializer::new(name)),
            Value::Object(fields) if fields.len() == 1 => visitor.visit_enum(Variant { fields }),
            _ => Err(ReadError::one_of(variants)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.0 {
            // Fields have names here: a struct's visitor would take a list too.
            Value::Array(_) => Err(ReadError::new("an object")),
            _ => self.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf unit unit_struct seq tuple tuple_struct map
        identifier ignored_any
    }
}

fn visit_number<'de, V: Visitor<'de>>(
    number: &serde_json::Number,
    visitor: V,
) -> Result<V::Value, ReadError> {
    if let Some(value) = number.as_u64() {
        return visitor.visit_u64(value);
    }
    match number.as_i64() {
        Some(value) => visitor.visit_i64(value),
        // No message has a number with a fraction, or beyond 64 bits.
        None => Err(de::Error::invalid_type(Unexpected::Other("fraction"), &visitor)),
    }
}

struct Elements<'de> {
    values: &'de [Value],
    next: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        let Some(value) = self.values.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        seed.deserialize(Reader(value)).map(Some).map_err(|e| e.within_element(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len() - self.next)
    }
}

struct Fields<'de> {
    fields: serde_json::map::Iter<'de>,
    /// The field whose name was read and whose value comes next.
    open: Option<(&'de String, &'de Value)>,
}

impl<'de> de::MapAccess<'de> for Fields<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.open = self.fields.next();
        let Some((name, _)) = self.open else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ReadError> {
        let Some((name, value)) = self.open.take() else {
            return Err(ReadError::new("a name before its value"));
        };
        seed.deserialize(Reader(value)).map_err(|error| error.within(name))
    }
}

/// An enum's variant as an object of one field.
struct Variant<'de> {
    fields: &'de Map<String, Value>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ReadError;
    type Variant = Content<'de>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Content<'de>), ReadError> {
        let Some((name, value)) = self.fields.iter().next() else {
            return Err(ReadError::new("one field"));
        };
        Ok((seed.deserialize(StrDeserializer::new(name))?, Content { name, value }))
    }
}

struct Content<'de> {
    name: &'de str,
    value: &'de Value,
}

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Err(ReadError::new("its name alone").within(self.name))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        seed.deserialize(Reader(self.value)).map_err(|error| error.within(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_any(Reader(self.value), visitor)
            .map_err(|error| error.within(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_struct(Reader(self.value), "", fields, visitor)
            .map_err(|error| error.within(self.name))
    }
}
