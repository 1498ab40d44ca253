import Attention
import Tensors
import Testing

/// What is between the tiles: packing, merging, adding and dividing, which all threads share.
@Suite("Sums by any number of threads")
struct ThreadedSumsTests {
  /// Long enough for several parts of everything.
  private let problem = Problem(
    batch: 2, tokens: 900, queryHeads: 4, kvHeads: 2, headDim: 20, valueHeadDim: 12)
  private var runs: [PositionRange] { [PositionRange(0..<900)] }

  private func numbers(_ tensor: borrowing Tensor<Float>) -> [UInt32] {
    tensor.span.indices.map { tensor.span[$0].bitPattern }
  }

  private func numbers(_ output: borrowing AttentionOutput) -> [UInt32] {
    numbers(output.o) + numbers(output.lse) + numbers(output.lseRemainder)
  }

  @Test("blocks are the same bytes", arguments: WireType.allCases)
  func packing(elementType: WireType) {
    func bytes(_ threads: Int) -> [UInt8] {
      let shape = problem.shape
      var block = KeyValueBlock(
        shape: shape, elementType: elementType,
        runs: [PositionRange(0..<601), PositionRange(601..<900)])
      block.pack(
        keys: Tensor(
          shape: [2, 900, 2, 20], buffer: AlignedBuffer(copying: problem.k.span)),
        values: Tensor(
          shape: [2, 900, 2, 12], buffer: AlignedBuffer(copying: problem.v.span)),
        team: ThreadTeam(threads: threads))
      var bytes = [UInt8](repeating: 0, count: block.byteCount)
      unsafe bytes.withUnsafeMutableBytes { unsafe block.copy(kvHeads: 0..<2, to: $0) }
      return bytes
    }
    let one = bytes(1)
    #expect(one.contains { $0 != 0 })
    for threads in [2, 4] { #expect(same(bytes(threads), one)) }
  }

  /// Everything that is done to both halves of the keys, and to what they give together.
  private func results(_ accumulation: Accumulation, threads: Int) -> [[UInt32]] {
    let shape = problem.shape
    let team = ThreadTeam(threads: threads)
    let computation = BlockComputation(
      shape: shape, scale: problem.scale, pattern: CausalPattern(), accumulation: accumulation,
      team: team)
    let queryMemory = AlignedBuffer<UInt8>(
      repeating: 0x7F, count: QueryBlock.byteCount(tokens: 900, shape: shape, pass: .backward))
    var queries = unsafe QueryBlock(
      shape: shape, runs: runs, pass: .backward, memory: queryMemory.unsafeMutableBytes)
    let shard = problem.queryShard(runs: runs)
    queries.load(shard, team: team)

    let blocks = [PositionRange(0..<768), PositionRange(768..<900)]
    let memory = AlignedBuffer<UInt8>(
      repeating: 0x7F,
      count: ForwardPartial.byteCount(
        tokens: 900, shape: shape, accumulation: accumulation))
    var sum = ForwardPartial(shape: shape, tokens: 900, accumulation: accumulation)
    for keys in blocks {
      var partial = unsafe ForwardPartial(
        shape: shape, tokens: 900, memory: memory.unsafeMutableBytes, accumulation: accumulation)
      partial.clear(team: team)
      computation.attend(
        queries, to: problem.keyValueBlock(runs: [keys], elementType: .f32),
        addingTo: &partial)
      sum.add(partial, team: team)
    }
    let output = sum.output(team: team)

    queries.load(
      shard, output: output, outputGradient: problem.outputGradientShard(runs: runs), team: team)
    let gradientMemory = AlignedBuffer<UInt8>(
      repeating: 0x7F,
      count: QueryGradient.byteCount(tokens: 900, shape: shape, accumulation: accumulation))
    var dq = QueryGradient(shape: shape, tokens: 900, accumulation: accumulation)
    var results = [numbers(output)]
    for keys in blocks {
      var other = unsafe QueryGradient(
        shape: shape, tokens: 900, memory: gradientMemory.unsafeMutableBytes,
        accumulation: accumulation)
      other.clear(team: team)
      var gradient = KeyValueGradient(
        shape: shape, keys: keys.count, accumulation: accumulation)
      computation.addGradients(
        queries, and: problem.keyValueBlock(runs: [keys], elementType: .f32), to: &other,
        and: &gradient)
      dq.add(other, team: team)
      var twice = KeyValueGradient(shape: shape, keys: keys.count, accumulation: accumulation)
      twice.add(gradient, team: team)
      twice.add(gradient, keys: 0..<keys.count, firstKVHead: 0, team: team)
      results += [numbers(twice.dk(team: team)), numbers(twice.dv(team: team))]
    }
    results.append(numbers(dq.dq(scale: problem.scale, team: team)))
    withExtendedLifetime(queryMemory) {}
    withExtendedLifetime(memory) {}
    withExtendedLifetime(gradientMemory) {}
    return results
  }

  @Test("merging, adding and dividing", arguments: [Accumulation.fast, .reproducible])
  func sums(accumulation: Accumulation) {
    let one = results(accumulation, threads: 1)
    for threads in [2, 4] {
      let many = results(accumulation, threads: threads)
      for (index, pair) in zip(one, many).enumerated() {
        #expect(same(pair.0, pair.1), "\(index)")
      }
    }
    // And they are right.
    let causal: (Int, Int, Int) -> Double = { i, j, _ in j <= i ? 0 : -.infinity }
    let expected = problem.expected(bias: causal)
    let gradients = problem.expectedGradients(bias: causal)
    let o = one[0].prefix(expected.o.count).map { Float(bitPattern: $0) }
    #expect(relativeError(Array(o), expected.o) < 1e-5)
    #expect(relativeError(one[5].map { Float(bitPattern: $0) }, gradients.dq) < 1e-4)
  }

  @Test("outputs that are divided already", arguments: [1, 2, 4])
  func outputs(threads: Int) {
    let queries = problem.queryShard(runs: runs)
    let whole = problem.expected { _, _, _ in 0 }
    var merger = OutputMerger(
      batch: 2, tokens: 900, heads: 4, valueHeadDim: 12, team: ThreadTeam(threads: threads))
    for keys in [PositionRange(0..<300), PositionRange(300..<310), PositionRange(310..<900)] {
      let output = problem.forward(
        pattern: FullPattern(), queries: queries, blocks: [[keys]], elementType: .f32,
        team: ThreadTeam(threads: 1))
      // Log-sum-exps go with the rows.
      var lse: [Float] = []
      for batch in 0..<2 {
        for token in 0..<900 {
          for head in 0..<4 { lse.append(output.lse.span[(batch * 4 + head) * 900 + token]) }
        }
      }
      unsafe lse.withUnsafeBufferPointer { lse in
        guard var logSumExp = lse.baseAddress else { return }
        var rows = unsafe UnsafePointer(output.o.unsafeBaseAddress)
        var remainder: UnsafePointer<Float>? = nil
        for batch in 0..<2 {
          unsafe merger.merge(
            batch: batch, tokens: PositionRange(0..<900), heads: [0, 1, 2, 3], output: &rows,
            logSumExp: &logSumExp, remainder: &remainder)
        }
        #expect(unsafe logSumExp == lse.baseAddress.map { unsafe $0 + lse.count })
        #expect(unsafe rows == UnsafePointer(output.o.unsafeBaseAddress) + output.o.count)
      }
    }
    let output = merger.finish()
    #expect(relativeError(output.o.span.indices.map { output.o.span[$0] }, whole.o) < 1e-5)
    #expect(relativeError(output.lse.span.indices.map { output.lse.span[$0] }, whole.lse) < 1e-5)
  }
}
