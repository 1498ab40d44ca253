/// A value that is encoded as null when there is none, instead of being left out.
package struct Nullable<Value: Encodable>: Encodable {
  package let value: Value?

  package init(value: Value?) {
    self.value = value
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let value { try container.encode(value) } else { try container.encodeNil() }
  }
}
