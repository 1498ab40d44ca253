import Attention
import Reporting
import SequenceParallel
import Tensors

/// The three tensors of a run, opened and found to fit together, but not read.
struct AttentionInput {
  var q: any TokenRows
  var k: any TokenRows
  let v: any TokenRows
  /// The gradient of the output; nil unless gradients are asked for.
  let outputGradient: (any TokenRows)?
  let shape: AttentionShape
  /// The type that keys and values have in the input, if both have the same.
  let keyValueType: ElementType
  /// Whether the tensors come from files and nobody has said in which order their dimensions are.
  let isLayoutAssumed: Bool

  /// The file that has them all; nil if there are several, or none.
  let file: SafetensorsFile?
  /// Whether the tensors are random numbers.
  let isRandom: Bool
  /// The whole numbers of masks, by the names of their tensors.
  var maskTables: [String: MaskTable] = [:]
  /// The path of the file that has them all.
  var path: String? { file?.path }

  /// One for each query head, where `--alibi` asks for them and the input has them.
  private(set) var alibiSlopes: [Float]?

  /// The logits of learned sinks, one for each query head, where they are asked for.
  private(set) var sinks: [Float]?

  /// What global tokens are computed with, where there are such and the input has it.
  var projections: GlobalProjections?

  /// Tables of labels, where there are such.
  private(set) var labels: LabelTables?

  /// A bias for each pair, where one is asked for.
  private(set) var bias: (any BiasSource)?

  /// Where tokens stand: by their indices, unless the input has positions of its own.
  var places: TokenPlaces

  /// Whether the input says where tokens stand, token by token.
  private(set) var hasOwnPlaces = false

  /// How far past its own position a query stands among the keys.
  var offset: Int { keyTokens - tokens }
  /// Queries of a sequence.
  var tokens: Int { q.shape[1] }
  /// Keys of a sequence.
  var keyTokens: Int { k.shape[1] }

  /// Describes random tensors.
  ///
  /// - Parameters:
  ///   - queries: queries of a sequence, its last; nil is as many as there are tokens.
  ///   - rule: says which other tensors there are.
  ///   - labels: how many labels have tables; nil if there are none.
  init(
    random: RandomProblem, queries: Int? = nil, seed: UInt64, gradients: Bool,
    rule: ScoreRuleOptions? = nil, labels: Int? = nil
  ) {
    let queries = queries ?? random.tokens
    func rows(_ tensor: UInt64, _ tokens: Int, _ heads: Int, _ columns: Int) -> RandomRows {
      RandomRows(shape: [random.batch, tokens, heads, columns], seed: seed, tensor: tensor)
    }
    q = rows(0, queries, random.queryHeads, random.headDim)
    k = rows(1, random.tokens, random.kvHeads, random.headDim)
    v = rows(2, random.tokens, random.kvHeads, random.valueHeadDim)
    outputGradient = gradients ? rows(3, queries, random.queryHeads, random.valueHeadDim) : nil
    keyValueType = .f32
    isLayoutAssumed = false
    file = nil
    isRandom = true
    shape = AttentionShape(
      batch: random.batch, queryHeads: random.queryHeads, kvHeads: random.kvHeads,
      headDim: random.headDim, valueHeadDim: random.valueHeadDim)
    places = TokenPlaces(offset: random.tokens - queries)
    self.labels = labels.map { LabelTables(random: $0, shape: shape, seed: seed) }
    if rule?.bias == true {
      bias = RandomBias(
        shape: [1, random.queryHeads, queries, random.tokens], seed: seed, tensor: 5)
    }
    if rule?.learnedSinks == true {
      var logits = [Float](repeating: 0, count: random.queryHeads)
      var span = logits.mutableSpan
      RandomNormal(seed: seed, tensor: 4).fill(&span, from: 0)
      sinks = logits
    }
  }

  /// Opens a `.safetensors` file with `q`, `k`, `v` and, for gradients, `do`.
  ///
  /// - Parameters:
  ///   - rule: says which other tensors of the file are of use.
  ///   - positions: likewise.
  ///   - labels: how many labels its tables are to have; nil if there are none.
  ///   - hasGlobals: whether there are global tokens, for which it may have other tensors.
  init(
    safetensors path: String, gradients: Bool, options: FileOptions,
    rule: ScoreRuleOptions? = nil, positions: PositionOptions? = nil, hasGlobals: Bool = false,
    labels: Int? = nil
  ) throws {
    let file = try Self.openSafetensors(path)
    let roles: [TensorNames.Role] = [.q, .k, .v] + (gradients ? [.outputGradient] : [])
    let found = try (options.names ?? TensorNames()).find(roles, in: file)
    guard let q = found[.q], let k = found[.k], let v = found[.v] else {
      preconditionFailure("what is not found is an error")
    }
    try self.init(q: q, k: k, v: v, outputGradient: found[.outputGradient], options, file: file)
    self.labels = try labels.map { try LabelTables(in: file, shape: shape, labels: $0) }
    if hasGlobals { projections = try projections(in: file, options) }
    if positions?.positionIds == true {
      places = try TokenPlaces(
        idsIn: file, batch: shape.batch, tokens: tokens, keyTokens: keyTokens)
      hasOwnPlaces = true
    }
    if rule?.alibi == true, file.entry("alibi_slopes") != nil {
      alibiSlopes = try numbers(
        "alibi_slopes", in: file, what: "a slope for each, or leave it out for the published ones")
    }
    if rule?.bias == true { bias = try bias(in: file) }
    if rule?.learnedSinks == true {
      guard file.entry("sinks") != nil else {
        throw UserError(
          "'\(path)': --learned-sinks needs a tensor sinks [queryHeads], a logit for each query "
            + "head, and there is none in the file; add it, or leave the option out.")
      }
      sinks = try numbers("sinks", in: file, what: "a logit for each")
    }
  }

  /// Opens `bias`.
  private func bias(in file: SafetensorsFile) throws -> TensorSource {
    let needed = "[1 or \(shape.batch), 1 or \(shape.queryHeads), \(tokens), \(keyTokens)]"
    guard file.entry("bias") != nil else {
      throw UserError(
        "'\(file.path)': --bias needs a tensor bias \(needed), a number for each query and key, "
          + "and there is none in the file; add it, or leave the option out.")
    }
    let source = try file.source("bias")
    guard source.shape.rank == 4, [1, shape.batch].contains(source.shape[0]),
      [1, shape.queryHeads].contains(source.shape[1]), source.shape[2] == tokens,
      source.shape[3] == keyTokens
    else {
      throw UserError(
        "'\(file.path)': bias is \(source.shape), and there are "
          + "\(counted(shape.batch, "sequence")) of \(tokens) queries and \(keyTokens) keys with "
          + "\(shape.queryHeads) query heads; give \(needed).")
    }
    return source
  }

  /// Reads a tensor `[queryHeads]`.
  private func numbers(
    _ name: String, in file: SafetensorsFile, what: String
  ) throws -> [Float] {
    let heads = shape.queryHeads
    let source = try file.source(name)
    guard source.shape == [heads] else {
      throw UserError(
        "'\(file.path)': \(name) is \(source.shape), and there are \(heads) query heads; give "
          + "[\(heads)], \(what).")
    }
    var numbers = [Float](repeating: 0, count: heads)
    var span = numbers.mutableSpan
    try source.read(RowSlice(PositionRange(0..<heads), axis: 0), into: &span)
    return numbers
  }

  /// Opens `.npy` files.
  init(
    q: String, k: String, v: String, outputGradient: String?, options: FileOptions
  ) throws {
    try self.init(
      q: Self.openNpy(q), k: Self.openNpy(k), v: Self.openNpy(v),
      outputGradient: outputGradient.map { try Self.openNpy($0) }, options)
  }

  private static func openSafetensors(_ path: String) throws -> SafetensorsFile {
    do throws(TensorFileError) {
      return try SafetensorsFile.open(path)
    } catch {
      guard error.kind == .otherFormat(.npy) else { throw error }
      throw UserError.usage(
        "'\(path)' is a .npy file, of a single tensor; give --q, --k and --v for .npy files.")
    }
  }

  private static func openNpy(_ path: String) throws -> TensorSource {
    do throws(TensorFileError) {
      return try NpyFile.open(path).source(rank: 4)
    } catch {
      guard error.kind == .otherFormat(.safetensors) else { throw error }
      throw UserError.usage(
        "'\(path)' is a .safetensors file; name it as the input itself, in the place of --q, --k, "
          + "--v and --do.")
    }
  }

  /// Takes the tensors of files as they are there.
  private init(
    q: TensorSource, k: TensorSource, v: TensorSource, outputGradient: TensorSource?,
    _ options: FileOptions, file: SafetensorsFile? = nil
  ) throws {
    self.file = file
    isRandom = false
    let checks = ShapeChecks(
      q: q, k: k, v: v, outputGradient: outputGradient, layout: options.layout)
    shape = try checks.shape()
    self.q = options.layout.view(q)
    self.k = options.layout.view(k)
    self.v = options.layout.view(v)
    self.outputGradient = outputGradient.map(options.layout.view)
    keyValueType = k.elementType == v.elementType ? k.elementType : .f32
    isLayoutAssumed = options.inputLayout == nil
    places = TokenPlaces(offset: self.k.shape[1] - self.q.shape[1])
  }
}
