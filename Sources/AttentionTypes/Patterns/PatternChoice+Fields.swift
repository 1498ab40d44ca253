/// A field for each kind of mask, beside the other fields of a report: `"causal": true`.
extension PatternChoice: Codable {
  /// The names of the fields.
  public static let fields = kinds.map { $0.name }

  /// The options that it comes to, each with its value, chosen or not.
  public var options: [String: String] {
    Dictionary(
      uniqueKeysWithValues: Self.kinds.map { kind in
        let mask = masks.first { type(of: $0) == kind }
        return (
          "--\(kind.name)", mask.map { "\($0)" } ?? kind.absence.map { "\($0)" } ?? "none"
        )
      })
  }

  private struct Field: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }

    init?(intValue: Int) { nil }
  }

  /// Adds the fields to an object that may have others.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Field.self)
    for kind in Self.kinds {
      let field = Field(stringValue: kind.name)
      if let mask = masks.first(where: { type(of: $0) == kind }) {
        try container.encode(mask, forKey: field)
      } else if let absence = kind.absence {
        try container.encode(absence, forKey: field)
      } else {
        try container.encodeNil(forKey: field)
      }
    }
  }

  /// Finds the fields in an object that may have others.
  ///
  /// A mask whose field is null without it may have been unknown to who wrote the object, and lacks
  /// there.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Field.self)
    self.init(
      try Self.kinds.compactMap { kind in
        let field = Field(stringValue: kind.name)
        if let absence = kind.absence {
          if let value = try? container.decode(Bool.self, forKey: field), value == absence {
            return nil
          }
        } else if try !container.contains(field) || container.decodeNil(forKey: field) {
          return nil
        }
        return try kind.init(from: container.superDecoder(forKey: field))
      })
  }
}

/// What is reported about attention under some masks: one object with the fields of both.
@dynamicMemberLookup
package struct WithPattern<Fields> {
  package let pattern: PatternChoice
  package let fields: Fields

  package init(_ pattern: PatternChoice, _ fields: Fields) {
    self.pattern = pattern
    self.fields = fields
  }

  package subscript<Value>(dynamicMember path: KeyPath<Fields, Value>) -> Value {
    fields[keyPath: path]
  }
}

extension WithPattern: Encodable where Fields: Encodable {
  package func encode(to encoder: any Encoder) throws {
    try fields.encode(to: encoder)
    try pattern.encode(to: encoder)
  }
}

extension WithPattern: Sendable where Fields: Sendable {}
