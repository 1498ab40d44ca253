import KernelSets

/// What follows attention in a layer and takes each token by itself.
protocol FeedForward: Sendable {
  /// All of them.
  var matrices: [StoredMatrix] { get }

  /// Bytes of those that a token is multiplied by.
  var multipliedBytes: Int { get }

  /// Numbers of a token that products have which ranks can share.
  var productWidth: Int { get }

  /// Floating-point operations of all products for one token.
  var productWork: Int { get }

  /// Adds what it makes of rows, normalised, to them.
  ///
  /// - Parameters:
  ///   - rows: `[tokens, width]`, at most a chunk of them.
  ///   - norm: of what is multiplied.
  ///   - blocks: what multiplies, and its room.
  func add(
    to rows: inout MutableSpan<Float>, normalisedBy norm: Norm, _ blocks: DecoderBlocks)
}

extension Sequence<StoredMatrix> {
  /// Bytes, as they are stored.
  var byteCount: Int { reduce(0) { $0 + $1.byteCount } }

  /// Columns of products.
  var outputs: Int { reduce(0) { $0 + $1.outputs } }

  /// Floating-point operations of their products with a row.
  var work: Int { reduce(0) { $0 + 2 * $1.inputs * $1.outputs } }

  /// Numbers of all.
  var parameters: Int { reduce(0) { $0 + $1.inputs * $1.outputs } }
}
