import Attention
import Compute
import KernelSets
import MPI
import Tensors

/// What a rank computes of its own tokens, a chunk at a time: all of a decoder but attention.
struct DecoderBlocks {
  let decoder: Decoder
  let team: ThreadTeam
  private(set) var room: BlockRoom
  /// Where tokens stand.
  private let places: TokenPositions
  /// What products are computed of where a text is read, and where one of few tokens is; nil for
  /// `Float` in the way that suits their rows.
  private let arithmetic, arithmeticOfShort: ProductArithmetic?
  private var sizes: Decoder.Sizes { decoder.sizes }

  /// What ranks that share products have failed with.
  var failure: MPIError? { room.division?.failure }

  /// The most tokens at a time.
  var chunk: Int { room.chunk }

  init(
    _ decoder: Decoder, chunk: Int, team: ThreadTeam, arithmetic: ProductArithmetic,
    isReproducible: Bool, places: TokenPositions
  ) {
    self.decoder = decoder
    self.places = places
    self.team = team
    self.arithmetic = arithmetic == .f32 && !isReproducible ? nil : arithmetic
    arithmeticOfShort = isReproducible ? .f32 : nil
    room = BlockRoom(decoder.sizes, chunk: chunk, team: team)
  }

  /// The same, in the same memory, with products as they are for a text of so many tokens that is
  /// read: rounded or not, whatever rows of it a rank and a chunk have.
  ///
  /// Those of short texts, as of tokens that are generated, are computed of `Float`: memory limits
  /// them.
  func reading(_ tokens: Int) -> DecoderBlocks {
    var blocks = self
    blocks.room.arithmetic = tokens < Self.shortText ? arithmeticOfShort : arithmetic
    return blocks
  }

  /// Tokens from which on a text is no longer short.
  private static var shortText: Int { 32 }

  /// The same, in the same memory, for ranks that share the products of few tokens; nil where
  /// each computes them.
  func dividing(by division: WeightDivision?) -> DecoderBlocks {
    var blocks = self
    blocks.room.division = division
    return blocks
  }

  // MARK: Embedding

  /// The rows of tokens as they enter the first layer.
  ///
  /// - Parameters:
  ///   - tokens: one for each position.
  ///   - rows: `[tokens.count, width]`.
  func embed(_ tokens: [Int], positions: [PositionRange], into rows: inout MutableSpan<Float>) {
    let width = sizes.width
    let flat = positions.flatMap { $0.map { places[0, $0] } }
    precondition(tokens.count == flat.count && rows.count == tokens.count * width, "other tokens")
    let (decoder, scale) = (decoder, decoder.embeddingScale)
    // Nothing in it can fail.
    try? team.forEachPart(of: &rows, rowLength: width) { part, range in
      var place = [Float](repeating: 0, count: width)
      for (index, row) in range.enumerated() {
        var target = part.part(index * width..<(index + 1) * width)
        decoder.embedding.widen(row: tokens[row], into: &target)
        if scale != 1 { for column in 0..<width { target[column] *= scale } }
        if let positionEmbedding = decoder.positionEmbedding {
          var span = place.mutableSpan
          positionEmbedding.widen(row: flat[row], into: &span)
          for column in 0..<width { target[column] += place[column] }
        }
      }
    }
  }

  // MARK: Attention

  /// Queries, keys and values of some tokens, normalised and turned as attention wants them.
  ///
  /// - Parameters:
  ///   - rows: `[tokens, width]`, as they enter the layer.
  ///   - runs: the positions of the tokens.
  ///   - positions: what turns queries and keys; nil if nothing does.
  ///   - queries: `[tokens, queryHeads, headDim]`.
  ///   - store: is given keys and values of a stretch of one run, `[count, kvHeads, headDim]` each,
  ///     which run it is, and where in it the stretch begins.
  func project(
    _ rows: borrowing Span<Float>, layer: DecoderLayer, runs: [PositionRange],
    positions: RotaryPositions?, queries: inout MutableSpan<Float>,
    store: (
      _ keys: borrowing Span<Float>, _ values: borrowing Span<Float>, _ run: Int, _ first: Int
    ) -> Void
  ) {
    forEachChunk(of: runs) { tokens, stretches in
      let input = rows.extracting(tokens.scaled(by: sizes.width))
      let turning = turning(stretches, positions)
      multiply(input, normalisedBy: layer.attentionNorm, by: layer.projections)
      var target = queries.part(tokens.scaled(by: sizes.queryWidth))
      takeQueries(tokens.count, of: layer, turning, into: &target)
      takeKeys(tokens.count, of: layer, turning, at: sizes.queryWidth)
      giveKeys(stretches, store)
    }
  }

  /// The keys and values alone.
  func projectKeys(
    _ rows: borrowing Span<Float>, layer: DecoderLayer, runs: [PositionRange],
    positions: RotaryPositions?,
    store: (
      _ keys: borrowing Span<Float>, _ values: borrowing Span<Float>, _ run: Int, _ first: Int
    ) -> Void
  ) {
    let outputs = sizes.queryWidth..<sizes.queryWidth + 2 * sizes.keyWidth
    forEachChunk(of: runs) { tokens, stretches in
      multiply(
        rows.extracting(tokens.scaled(by: sizes.width)), normalisedBy: layer.attentionNorm,
        by: layer.projections(outputs))
      takeKeys(tokens.count, of: layer, turning(stretches, positions), at: 0)
      giveKeys(stretches, store)
    }
  }

  /// The queries alone.
  func projectQueries(
    _ rows: borrowing Span<Float>, layer: DecoderLayer, runs: [PositionRange],
    positions: RotaryPositions?, queries: inout MutableSpan<Float>
  ) {
    forEachChunk(of: runs) { tokens, stretches in
      multiply(
        rows.extracting(tokens.scaled(by: sizes.width)), normalisedBy: layer.attentionNorm,
        by: layer.projections(0..<sizes.queryWidth))
      var target = queries.part(tokens.scaled(by: sizes.queryWidth))
      takeQueries(
        tokens.count, of: layer, turning(stretches, positions), into: &target,
        width: sizes.queryWidth)
    }
  }

  /// Neighbours of one run.
  private struct Stretch {
    let run: Int
    /// Where in the run it begins.
    let first: Int
    let positions: PositionRange
  }

  /// Cuts tokens into chunks.
  ///
  /// - Parameter body: takes indices of tokens, and what of each run they are.
  private func forEachChunk(
    of runs: [PositionRange], _ body: (_ tokens: Range<Int>, _ stretches: [Stretch]) -> Void
  ) {
    forEachChunk(of: runs.reduce(0) { $0 + $1.count }) { tokens in
      var start = 0
      var stretches: [Stretch] = []
      for (number, run) in runs.enumerated() {
        let part = tokens.clamped(to: start..<start + run.count)
        if !part.isEmpty {
          let range = part.lowerBound - start..<part.upperBound - start
          stretches.append(
            Stretch(run: number, first: range.lowerBound, positions: run.slice(range)))
        }
        start += run.count
      }
      body(tokens, stretches)
    }
  }

  private func turning(_ stretches: [Stretch], _ positions: RotaryPositions?) -> Turning {
    Turning(
      positions: positions, places: stretches.flatMap { $0.positions.map { places[0, $0] } },
      headDim: sizes.headDim, team: team)
  }

  /// Takes queries from the first columns of a product in the room.
  ///
  /// - Parameter width: of the product; nil if keys and values follow.
  private func takeQueries(
    _ count: Int, of layer: DecoderLayer, _ turning: Turning,
    into queries: inout MutableSpan<Float>,
    width: Int? = nil
  ) {
    let width = width ?? sizes.queryWidth + 2 * sizes.keyWidth
    room.projected.read(0..<count * width) { result in
      copy(0..<sizes.queryWidth, at: 0, of: result, width: width, layer, to: &queries)
    }
    turning.turn(&queries, norm: layer.queryNorm, heads: sizes.queryHeads)
  }

  /// Takes keys and values from a product in the room, whose last columns they are; they stay
  /// there.
  ///
  /// - Parameter first: their first column.
  private func takeKeys(_ count: Int, of layer: DecoderLayer, _ turning: Turning, at first: Int) {
    let (queryWidth, keyWidth) = (sizes.queryWidth, sizes.keyWidth)
    let (width, size) = (first + 2 * keyWidth, count * keyWidth)
    room.projected.read(0..<count * width) { result in
      room.hidden.write(0..<size) { keys in
        copy(
          queryWidth..<queryWidth + keyWidth, at: first, of: result, width: width, layer, to: &keys)
        turning.turn(&keys, norm: layer.keyNorm, heads: sizes.kvHeads)
      }
      room.hidden.write(size..<2 * size) { values in
        copy(
          queryWidth + keyWidth..<queryWidth + 2 * keyWidth, at: first + keyWidth, of: result,
          width: width, layer, to: &values)
      }
    }
  }

  /// Gives keys and values in the room away, those of each run by themselves.
  private func giveKeys(
    _ stretches: [Stretch],
    _ store: (
      _ keys: borrowing Span<Float>, _ values: borrowing Span<Float>, _ run: Int, _ first: Int
    ) -> Void
  ) {
    let width = sizes.keyWidth
    let size = stretches.reduce(0) { $0 + $1.positions.count } * width
    room.hidden.read(0..<2 * size) { both in
      var start = 0
      for stretch in stretches {
        let end = start + stretch.positions.count * width
        store(
          both.extracting(start..<end), both.extracting(size + start..<size + end), stretch.run,
          stretch.first)
        start = end
      }
    }
  }

  /// Copies columns with their biases.
  ///
  /// - Parameters:
  ///   - outputs: of all projections.
  ///   - first: where they are in the product.
  private func copy(
    _ outputs: Range<Int>, at first: Int, of result: borrowing Span<Float>, width: Int,
    _ layer: DecoderLayer, to target: inout MutableSpan<Float>
  ) {
    let bias = layer.projectionBias.isEmpty ? [] : Array(layer.projectionBias[outputs])
    team.copy(
      columns: first..<first + outputs.count, of: result, width: width, bias: bias.span,
      to: &target)
  }

  /// Takes so many tokens a chunk at a time.
  func forEachChunk(of count: Int, _ body: (_ tokens: Range<Int>) -> Void) {
    for first in stride(from: 0, to: count, by: chunk) {
      body(first..<min(first + chunk, count))
    }
  }

  /// Normalises rows and multiplies them; the result is in the room.
  func multiply(
    _ rows: borrowing Span<Float>, normalisedBy norm: Norm, by matrices: [StoredMatrix]
  ) {
    let count = rows.count / sizes.width
    room.normalise(rows, by: norm)
    room.normalised.read(0..<rows.count) { input in
      room.projected.write(0..<count * matrices.reduce(0) { $0 + $1.outputs }) { target in
        room.multiply(input, rows: count, by: matrices, into: &target)
      }
    }
  }

  // MARK: After attention

  /// Adds what attention found and the feed-forward part to the rows of tokens, a chunk at a time.
  ///
  /// - Parameters:
  ///   - outputs: of attention, `[tokens, queryHeads, headDim]`.
  ///   - rows: `[tokens, width]`: as they entered the layer, and then as they leave it.
  func finish(
    _ outputs: borrowing Span<Float>, layer: DecoderLayer, rows: inout MutableSpan<Float>
  ) {
    let tokens = rows.count / sizes.width
    for first in stride(from: 0, to: tokens, by: room.chunk) {
      let chunk = first..<min(first + room.chunk, tokens)
      var part = rows.part(chunk.scaled(by: sizes.width))
      add(
        outputs.extracting(chunk.scaled(by: sizes.queryWidth)), times: layer.output,
        bias: layer.outputBias, norm: layer.postAttentionNorm, to: &part)
      layer.feedForward.add(to: &part, normalisedBy: layer.feedForwardNorm, self)
    }
  }

  /// Adds a product, with a bias and normalised if that is done.
  func add(
    _ input: borrowing Span<Float>, times matrix: StoredMatrix, bias: [Float], norm: Norm?,
    to rows: inout MutableSpan<Float>
  ) {
    let (count, size) = (rows.count / sizes.width, rows.count)
    guard let norm else {
      room.multiply(input, rows: count, by: [matrix], into: &rows, adding: true)
      team.add(bias: bias.span, to: &rows)
      return
    }
    room.projected.write(0..<size) { product in
      room.multiply(input, rows: count, by: [matrix], into: &product)
      team.add(bias: bias.span, to: &product)
    }
    room.projected.read(0..<size) { room.normalise($0, by: norm) }
    room.normalised.read(0..<size) { team.add($0, to: &rows) }
  }

  // MARK: Logits

  /// The logits of some tokens of the vocabulary.
  ///
  /// - Parameters:
  ///   - rows: `[tokens, width]` as they leave the last layer, at most a chunk of them.
  ///   - vocabulary: which tokens; all, unless it is said which.
  ///   - logits: `[tokens, vocabulary.count]`.
  func logits(
    _ rows: borrowing Span<Float>, of vocabulary: Range<Int>? = nil,
    into logits: inout MutableSpan<Float>
  ) {
    room.normalise(rows, by: decoder.outputNorm)
    let matrix = vocabulary.map { decoder.output.rows($0) } ?? decoder.output
    room.normalised.read(0..<rows.count) { input in
      room.multiply(
        input, rows: rows.count / sizes.width, by: [matrix], into: &logits)
    }
  }
}

extension Range<Int> {
  /// As many times as far, and as many times as long.
  func scaled(by factor: Int) -> Range<Int> { lowerBound * factor..<upperBound * factor }
}
