import Attention
import SequenceParallel
import Tensors

/// The three tensors of a run, opened and found to fit together, but not read.
struct AttentionInput {
  let q: any TokenRows
  let k: any TokenRows
  let v: any TokenRows
  /// The gradient of the output; nil unless gradients are asked for.
  let outputGradient: (any TokenRows)?
  let shape: AttentionShape
  /// The type that keys and values have in the input, if both have the same.
  let keyValueType: ElementType

  /// Queries of a sequence.
  var tokens: Int { q.shape[1] }
  /// Keys of a sequence.
  var keyTokens: Int { k.shape[1] }

  /// Describes random tensors.
  ///
  /// - Parameter queries: queries of a sequence, its last; nil is as many as there are tokens.
  init(random: RandomProblem, queries: Int? = nil, seed: UInt64, gradients: Bool) {
    let queries = queries ?? random.tokens
    func rows(_ tensor: UInt64, _ tokens: Int, _ heads: Int, _ columns: Int) -> RandomRows {
      RandomRows(shape: [random.batch, tokens, heads, columns], seed: seed, tensor: tensor)
    }
    q = rows(0, queries, random.queryHeads, random.headDim)
    k = rows(1, random.tokens, random.kvHeads, random.headDim)
    v = rows(2, random.tokens, random.kvHeads, random.valueHeadDim)
    outputGradient = gradients ? rows(3, queries, random.queryHeads, random.valueHeadDim) : nil
    keyValueType = .f32
    shape = AttentionShape(
      batch: random.batch, queryHeads: random.queryHeads, kvHeads: random.kvHeads,
      headDim: random.headDim, valueHeadDim: random.valueHeadDim)
  }

  /// Opens a `.safetensors` file with `q`, `k`, `v` and, for gradients, `do`.
  init(safetensors path: String, gradients: Bool) throws {
    guard !path.hasSuffix(".npy") else {
      throw UserError("'\(path)' is a single tensor; give --q, --k and --v for .npy files.")
    }
    let file = try SafetensorsFile.open(path)
    try self.init(
      q: file.source("q", rank: 4), k: file.source("k", rank: 4), v: file.source("v", rank: 4),
      outputGradient: gradients ? file.source("do", rank: 4) : nil)
  }

  /// Opens `.npy` files.
  init(q: String, k: String, v: String, outputGradient: String?) throws {
    try self.init(
      q: NpyFile.open(q).source(rank: 4), k: NpyFile.open(k).source(rank: 4),
      v: NpyFile.open(v).source(rank: 4),
      outputGradient: outputGradient.map { try NpyFile.open($0).source(rank: 4) })
  }

  private init(
    q: TensorSource, k: TensorSource, v: TensorSource, outputGradient: TensorSource?
  ) throws {
    let checks = ShapeChecks(q: q, k: k, v: v, outputGradient: outputGradient)
    shape = try checks.shape()
    self.q = q
    self.k = k
    self.v = v
    self.outputGradient = outputGradient
    keyValueType = k.elementType == v.elementType ? k.elementType : .f32
  }
}

/// Whether three tensors are the queries, keys and values of one problem; each answer names the
/// files, the shapes and the remedy.
private struct ShapeChecks {
  let q: TensorSource
  let k: TensorSource
  let v: TensorSource
  let outputGradient: TensorSource?

  func shape() throws -> AttentionShape {
    try require(
      q.shape[0] == k.shape[0] && k.shape[0] == v.shape[0], "the batch sizes differ",
      "make the first dimension of q, k and v the same")
    try require(
      k.shape[1] == v.shape[1], "k and v have different numbers of tokens",
      "give every key its value")
    try require(
      k.shape[2] == v.shape[2], "k and v have different numbers of heads",
      "give every KV head its values")
    try require(
      q.shape[3] == k.shape[3], "the head dims of q and k differ",
      "only v may have another head dim")
    for (axis, what) in [(0, "batch"), (2, "heads"), (3, "head dim")] {
      try require(
        q.shape[axis] > 0 && v.shape[axis] > 0, "there is a \(what) of 0",
        "only the number of tokens may be 0")
    }
    try require(
      q.shape[2] % k.shape[2] == 0,
      "\(k.shape[2]) KV heads do not divide \(q.shape[2]) query heads",
      "make the heads of q a multiple of the heads of k and v")
    try require(
      q.shape[3] <= AttentionShape.largestHeadDim,
      "the head dim of q and k is over \(AttentionShape.largestHeadDim)",
      "project q and k to fewer columns; a head that is split in two is another attention")
    try require(
      v.shape[3] <= AttentionShape.largestHeadDim,
      "the head dim of v is over \(AttentionShape.largestHeadDim)",
      "run once for each of some parts of the columns of v, and put those of o side by side")
    if let outputGradient {
      let expected: Shape = [q.shape[0], q.shape[1], q.shape[2], v.shape[3]]
      guard outputGradient.shape == expected else {
        throw UserError(
          "'\(outputGradient.path)': do is \(outputGradient.shape) and o will be \(expected); "
            + "give do the shape of o.")
      }
    }
    return AttentionShape(
      batch: q.shape[0], queryHeads: q.shape[2], kvHeads: k.shape[2], headDim: q.shape[3],
      valueHeadDim: v.shape[3])
  }

  private func require(_ condition: Bool, _ problem: String, _ remedy: String) throws {
    if condition { return }
    let files = Set([q.path, k.path, v.path]).sorted().map { "'\($0)'" }.joined(separator: ", ")
    throw UserError(
      "\(files): \(problem) (q \(q.shape), k \(k.shape), v \(v.shape)); \(remedy).")
  }
}
