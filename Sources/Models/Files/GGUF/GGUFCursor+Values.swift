import Tensors

extension GGUFCursor {
  /// How deep arrays may be in arrays; no model has any.
  private static var greatestDepth: Int { 4 }

  /// Reads the type of a value, which comes before it.
  mutating func valueType(_ what: String) throws(GGUFProblem) -> GGUFValueType {
    let start = offset
    let number = try number(UInt32.self, "the type of \(what)")
    guard let type = GGUFValueType(rawValue: number) else {
      throw problem("\(what) is of type \(number), which the format does not have", at: start)
    }
    return type
  }

  /// Reads a value of a type.
  mutating func value(
    _ type: GGUFValueType, _ what: String, depth: Int = 0
  ) throws(GGUFProblem) -> GGUFValue {
    switch type {
    case .uint8: .integer(Int(try number(UInt8.self, what)))
    case .int8: .integer(Int(try number(Int8.self, what)))
    case .uint16: .integer(Int(try number(UInt16.self, what)))
    case .int16: .integer(Int(try number(Int16.self, what)))
    case .uint32: .integer(Int(try number(UInt32.self, what)))
    case .int32: .integer(Int(try number(Int32.self, what)))
    case .int64: .integer(Int(try number(Int64.self, what)))
    case .uint64: Self.whole(try number(UInt64.self, what))
    case .float32: .number(Double(try number(Float.self, what)))
    case .float64: .number(try number(Double.self, what))
    case .bool: .bool(try bool(what))
    case .string: .string(String(decoding: try string(what), as: UTF8.self))
    case .array: try array(what, depth: depth)
    }
  }

  private static func whole(_ number: UInt64) -> GGUFValue {
    Int(exactly: number).map(GGUFValue.integer) ?? .unsigned(number)
  }

  private mutating func bool(_ what: String) throws(GGUFProblem) -> Bool {
    let start = offset
    let byte = try number(UInt8.self, what)
    guard byte <= 1 else { throw problem("\(what) is \(byte) instead of 0 or 1", at: start) }
    return byte == 1
  }

  private mutating func array(_ what: String, depth: Int) throws(GGUFProblem) -> GGUFValue {
    let start = offset
    guard depth < Self.greatestDepth else {
      throw problem("\(what) has arrays nested deeper than \(Self.greatestDepth) levels", at: start)
    }
    let type = try valueType("the elements of \(what)")
    let count = try count(type.leastByteCount, "elements of \(what)")
    switch type {
    case .string:
      var table = StringTable()
      table.reserve(count, byteCount: 8 * count)
      for _ in 0..<count { table.append(try string(what)) }
      return .strings(table)
    case .bool:
      return .bools(try list(count) { (cursor) throws(GGUFProblem) in try cursor.bool(what) })
    case .float32, .float64:
      return .numbers(
        try list(count) { (cursor) throws(GGUFProblem) in
          guard case .number(let number) = try cursor.value(type, what) else { return 0 }
          return number
        })
    case .array:
      return .arrays(
        try list(count) { (cursor) throws(GGUFProblem) in
          try cursor.array(what, depth: depth + 1)
        })
    case .uint8, .int8, .uint16, .int16, .uint32, .int32, .uint64, .int64:
      return .integers(
        try list(count) { (cursor) throws(GGUFProblem) in
          let start = cursor.offset
          guard case .integer(let number) = try cursor.value(type, what) else {
            throw cursor.problem("an element of \(what) is beyond \(Int.max)", at: start)
          }
          return number
        })
    }
  }

  private mutating func list<Element>(
    _ count: Int, _ read: (inout GGUFCursor) throws(GGUFProblem) -> Element
  ) throws(GGUFProblem) -> [Element] {
    var elements: [Element] = []
    elements.reserveCapacity(count)
    for _ in 0..<count { elements.append(try read(&self)) }
    return elements
  }
}
