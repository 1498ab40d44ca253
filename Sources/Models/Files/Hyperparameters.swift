public import Tensors

/// The numbers that make a model of an architecture, by the names that GGUF has for them, without
/// the architecture before them: `block_count`, `attention.head_count`.
///
/// Those of `config.json` are there under the same names. Errors name a value as the file does.
public struct Hyperparameters: Sendable {
  /// The file that they are from.
  public let path: String

  /// All values.
  public let values: [String: GGUFValue]

  /// What the file calls a value, where that is not the prefix and the name.
  private let namesInFile: [String: String]

  /// What the file has before names.
  private let prefix: String

  /// Keeps the values of a file.
  init(
    path: String, values: [String: GGUFValue], prefix: String, namesInFile: [String: String] = [:]
  ) {
    self.path = path
    self.values = values
    self.prefix = prefix
    self.namesInFile = namesInFile
  }

  /// Values that somebody writes down instead of a file, as for a small random model.
  public init(_ values: [String: GGUFValue]) {
    self.init(path: "a model without a file", values: values, prefix: "")
  }

  /// Whether there is such a value.
  public func has(_ name: String) -> Bool { values[name] != nil }

  /// What the file calls a value.
  public func nameInFile(_ name: String) -> String { namesInFile[name] ?? prefix + name }

  /// A whole number.
  ///
  /// - Parameters:
  ///   - name: The value's name.
  ///   - range: What it may be.
  ///   - fallback: What it is where the file does not say, if that is allowed.
  /// - Throws: A `TensorFileError` if it is not there, no whole number, or out of range.
  public func int(
    _ name: String, in range: ClosedRange<Int> = 1...1 << 32, default fallback: Int? = nil
  ) throws(TensorFileError) -> Int {
    guard let value = values[name] else { return try missing(name, fallback) }
    let number: Int? =
      switch value {
      case .integer(let number): number
      case .number(let number): Int(exactly: number)
      default: nil
      }
    guard let number, range.contains(number) else {
      throw wrong(name, value, "a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// A number.
  ///
  /// - Throws: A `TensorFileError` if it is not there and has no default, or is no finite number.
  public func number(
    _ name: String, default fallback: Double? = nil
  ) throws(TensorFileError) -> Double {
    guard let value = values[name] else { return try missing(name, fallback) }
    let number: Double? =
      switch value {
      case .integer(let number): Double(number)
      case .number(let number): number
      default: nil
      }
    guard let number, number.isFinite else { throw wrong(name, value, "a number") }
    return number
  }

  /// A truth value.
  public func bool(
    _ name: String, default fallback: Bool? = nil
  ) throws(TensorFileError) -> Bool {
    guard let value = values[name] else { return try missing(name, fallback) }
    guard case .bool(let bool) = value else { throw wrong(name, value, "true or false") }
    return bool
  }

  /// A text.
  public func string(
    _ name: String, default fallback: String? = nil
  ) throws(TensorFileError) -> String {
    guard let value = values[name] else { return try missing(name, fallback) }
    guard case .string(let string) = value else { throw wrong(name, value, "a text") }
    return string
  }

  /// Texts; none where the value is not there.
  public func strings(_ name: String) throws(TensorFileError) -> [String] {
    guard let value = values[name] else { return [] }
    guard case .strings(let table) = value else { throw wrong(name, value, "texts") }
    return (0..<table.count).map { String(decoding: table[$0], as: UTF8.self) }
  }

  /// Whole numbers, one for each of `count` layers; a single one stands for all of them.
  ///
  /// - Throws: A `TensorFileError` if they are not there, not so many, or out of range.
  public func integers(
    _ name: String, count: Int, in range: ClosedRange<Int> = 1...1 << 32,
    default fallback: [Int]? = nil
  ) throws(TensorFileError) -> [Int] {
    guard let value = values[name] else { return try missing(name, fallback) }
    guard case .integers(let numbers) = value else {
      return Array(repeating: try int(name, in: range), count: count)
    }
    guard numbers.count == count, numbers.allSatisfy(range.contains) else {
      throw wrong(
        name, value,
        "\(count) whole numbers from \(range.lowerBound) to \(range.upperBound)")
    }
    return numbers
  }

  private func missing<Value>(
    _ name: String, _ fallback: Value?
  ) throws(TensorFileError) -> Value {
    guard let fallback else {
      throw TensorFileError(
        .malformed, path: path, "it has no value \(quoted(nameInFile(name)))",
        remedy: "convert the model again, or name another file")
    }
    return fallback
  }

  private func wrong(_ name: String, _ value: GGUFValue, _ expected: String) -> TensorFileError {
    TensorFileError(
      .malformed, path: path,
      "its value \(quoted(nameInFile(name))) is \(value.kind) instead of \(expected)",
      remedy: "convert the model again, or name another file")
  }
}
