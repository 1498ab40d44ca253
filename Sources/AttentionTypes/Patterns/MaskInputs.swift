public import Tensors

/// What masks are told of a problem: its sizes, and the whole numbers that come with its input.
///
/// Every rank has all of them: four bytes a number, for example a token of each sequence. What a
/// pattern keeps of them is its own, and as a rule less.
public struct MaskInputs: Sendable {
  /// Independent sequences.
  public let batch: Int
  /// Heads of the queries.
  public let queryHeads: Int
  /// Queries of a sequence; where they are fewer than the keys, its last.
  public let tokens: Int
  /// Keys of a sequence.
  public let keyTokens: Int
  /// The tensors that masks have asked for, by their names.
  public private(set) var tables: [String: MaskTable]

  /// Takes the sizes of a problem.
  public init(
    batch: Int = 1, queryHeads: Int = 1, tokens: Int, keyTokens: Int,
    tables: [String: MaskTable] = [:]
  ) {
    self.batch = batch
    self.queryHeads = queryHeads
    self.tokens = tokens
    self.keyTokens = keyTokens
    self.tables = tables
  }

  /// How far past its own index a query stands among the keys.
  public var offset: Int { keyTokens - tokens }

  /// A tensor that a mask has asked for, which is there.
  subscript(name: String) -> MaskTable {
    guard let table = tables[name] else {
      preconditionFailure("a mask needs \(name), and was made without it")
    }
    return table
  }

  /// Adds a tensor.
  public mutating func add(_ table: MaskTable, as name: String) { tables[name] = table }

  /// The memory of the tensors, in bytes.
  public var byteCount: Int { tables.values.reduce(0) { $0 + 4 * $1.numbers.count } }
}

/// The whole numbers of a tensor that masks read.
public struct MaskTable: Hashable, Sendable {
  /// The dimensions, outermost first.
  public let shape: [Int]
  /// Row-major.
  public let numbers: [Int32]

  /// Takes numbers in row-major order.
  public init(shape: [Int], numbers: [Int32]) {
    precondition(shape.reduce(1, *) == numbers.count, "\(numbers.count) numbers in \(shape)")
    self.shape = shape
    self.numbers = numbers
  }

  /// The numbers of one index of the first dimension.
  func row(_ index: Int) -> ArraySlice<Int32> {
    let length = shape[0] == 0 ? 0 : numbers.count / shape[0]
    return numbers[index * length..<(index + 1) * length]
  }
}

/// A tensor of whole numbers that a mask reads.
public struct MaskTensor: Hashable, Sendable {
  /// Its name in the input, such as `segment_ids`; in ``MaskInputs`` too.
  public let name: String
  /// The types that it may have in files.
  public let types: [IntegerType]
  /// Its dimensions, for sentences: `[batch, tokens]`.
  public let dimensions: String
  /// Whether the mask makes do without it.
  public let isOptional: Bool
  /// A file of its own that holds it and nothing else; nil if it is in the input.
  public let path: String?

  /// Describes a tensor.
  public init(
    _ name: String, _ types: [IntegerType], _ dimensions: String, isOptional: Bool = false,
    path: String? = nil
  ) {
    self.name = name
    self.types = types
    self.dimensions = dimensions
    self.isOptional = isOptional
    self.path = path
  }
}

/// Why a mask cannot be made of the numbers that came with an input.
public struct MaskError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A sentence with the remedy, which begins with the name of the tensor or the option.
  public let description: String

  /// Takes a sentence.
  public init(_ description: String) { self.description = description }
}
