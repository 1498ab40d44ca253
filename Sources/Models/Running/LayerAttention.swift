import Attention
import MPI
import SequenceParallel
import Sharding
import Tensors

/// The distributed attention of the layers that see alike, for one layer after the other; a
/// reference, since there are several and an array holds no values without copies.
final class LayerAttention {
  /// What layers that share attention have in common.
  struct Form: Hashable {
    let width: Int?
    let sinks: Int
    /// What turns queries to where they stand for sinks; nil without sinks.
    let rotation: RotaryPositions?

    init(_ layer: DecoderLayer, _ options: RunOptions, _ positions: RotaryPositions?) {
      width = options.width(layer)
      sinks = options.sinks(layer)
      rotation = sinks > 0 ? positions : nil
    }
  }

  private var attention: DistributedAttention?
  /// Where sinks are apart, instead of the other.
  private var withSinks: CachedSinkAttention?
  private let sinks: SinkRows?

  /// Connects the ranks, called by all of them together.
  init(
    _ problem: ShardedAttention, _ form: Form, route: Route,
    options: DistributedAttention.Options, on world: borrowing Communicator
  ) throws {
    guard form.sinks > 0, let width = form.width else {
      sinks = nil
      attention = try DistributedAttention(problem, route: route, options: options, on: world)
      return
    }
    sinks = SinkRows(count: form.sinks, shape: problem.shape)
    withSinks = try CachedSinkAttention(
      problem,
      sinks: .init(
        count: form.sinks, window: width, offset: 0, rotation: form.rotation, scoreRule: nil),
      route: route, options: options, on: world)
  }

  /// Packs this rank's own keys and values.
  ///
  /// - Parameter body: also gives those of sinks to the second argument, if there is one.
  func pack(_ body: (inout KeyValueBlock, SinkRows?) -> Void) {
    if var attention = attention.take() {
      attention.withOwnBlock { body(&$0, nil) }
      self.attention = consume attention
    } else if var withSinks = withSinks.take() {
      withSinks.withOwnBlock { body(&$0, sinks) }
      sinks?.give(to: &withSinks)
      self.withSinks = consume withSinks
    }
  }

  /// The forward pass, called by all ranks together.
  func forward(
    _ queries: borrowing QueryShard, progress: (_ scores: Int) -> Void
  ) throws(MPIError) -> AttentionOutput {
    if var attention = attention.take() {
      let output = try attention.forward(queries, progress: progress)
      self.attention = consume attention
      return output
    }
    guard var withSinks = withSinks.take() else { preconditionFailure("it was given back") }
    let output = try withSinks.forward(queries, progress: progress)
    self.withSinks = consume withSinks
    return output
  }

  /// Bytes that this rank has sent.
  var bytesSent: Int {
    if let attention = attention.take() {
      let bytes = attention.traffic.bytesSent
      self.attention = consume attention
      return bytes
    }
    guard let withSinks = withSinks.take() else { return 0 }
    let bytes = withSinks.traffic.bytesSent
    self.withSinks = consume withSinks
    return bytes
  }

  /// Gives back what the ranks share, called by all of them together.
  func close() throws(MPIError) {
    if let attention = attention.take() { try attention.close() }
    if let withSinks = withSinks.take() { try withSinks.close() }
  }
}

/// The keys and values of sinks that a rank has, as they are computed.
final class SinkRows {
  private let count: Int
  private let shape: AttentionShape
  private var rows: [Int: (key: [Float], value: [Float])] = [:]

  init(count: Int, shape: AttentionShape) {
    (self.count, self.shape) = (count, shape)
  }

  /// Takes what sinks there are among some tokens.
  ///
  /// - Parameters:
  ///   - keys: `[positions.count, kvHeads, headDim]`.
  ///   - values: `[positions.count, kvHeads, valueHeadDim]`.
  func take(
    keys: borrowing Span<Float>, values: borrowing Span<Float>, at positions: PositionRange
  ) {
    let (keyWidth, valueWidth) = (
      shape.kvHeads * shape.headDim, shape.kvHeads * shape.valueHeadDim
    )
    for (index, position) in positions.enumerated() where position < count {
      rows[position] = (
        (index * keyWidth..<(index + 1) * keyWidth).map { keys[$0] },
        (index * valueWidth..<(index + 1) * valueWidth).map { values[$0] }
      )
    }
  }

  /// Takes what sinks there are in some runs of a packed block.
  func take(from block: borrowing KeyValueBlock, runs: Range<Int>) {
    for run in runs {
      for (token, position) in block.runs[run].enumerated() where position < count {
        rows[position] = block.row(run: run, token: token)
      }
    }
  }

  /// Gives all to the attention of a layer.
  func give(to attention: inout CachedSinkAttention) {
    for (sink, row) in rows { attention.takeSink(sink, key: row.key.span, value: row.value.span) }
    rows = [:]
  }
}
