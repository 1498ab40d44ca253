import FoundationEssentials

/// Any value of a JSON file, for programs that only look for some of it.
package enum JSONValue: Codable, Hashable {
  case null
  case bool(Bool)
  case integer(Int)
  /// A whole number that only fits without a sign, as a seed of 64 bits may.
  case unsigned(UInt64)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int.self) {
      self = .integer(value)
    } else if let value = try? container.decode(UInt64.self) {
      self = .unsigned(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .unsigned(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let values): try container.encode(values)
    case .object(let members): try container.encode(members)
    }
  }

  /// Reads JSON text.
  package init(parsing text: some Collection<UInt8>) throws {
    self = try JSONDecoder().decode(JSONValue.self, from: Data(text))
  }

  /// What any value is in JSON.
  package init(_ value: some Encodable) throws {
    try self.init(parsing: jsonLine(value).utf8)
  }

  /// A member of an object; nil where there is none.
  package subscript(_ name: String) -> JSONValue? {
    if case .object(let members) = self { members[name] } else { nil }
  }

  /// A number of any kind.
  package var double: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .unsigned(let value): Double(value)
    case .number(let value): value
    default: nil
    }
  }

  /// A whole number.
  package var int: Int? { if case .integer(let value) = self { value } else { nil } }

  /// A truth value.
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

  /// A text.
  package var string: String? { if case .string(let value) = self { value } else { nil } }

  /// The elements of an array.
  package var array: [JSONValue]? { if case .array(let values) = self { values } else { nil } }

  /// The members of an object.
  package var object: [String: JSONValue]? {
    if case .object(let members) = self { members } else { nil }
  }
}
