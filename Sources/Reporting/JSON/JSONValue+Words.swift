/// Values as people write them.
extension JSONValue {
  /// A text or number as one word of a command line.
  package var word: String? {
    switch self {
    case .integer(let value): "\(value)"
    case .unsigned(let value): "\(value)"
    case .number(let value): "\(value)"
    case .string(let value): value
    case .null, .bool, .array, .object: nil
    }
  }

  /// What it is, for a sentence.
  package var kind: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .integer, .unsigned, .number: word ?? ""
    case .string(let value): "\"\(value)\""
    case .array: "a list"
    case .object: "an object"
    }
  }
}
