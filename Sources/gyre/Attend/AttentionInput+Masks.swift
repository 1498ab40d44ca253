import Attention
import AttentionReference
import Hosts
import Jobs
import MPI
import Reporting
import Tensors

extension AttentionInput {
  /// What masks are told of the problem.
  var maskInputs: MaskInputs {
    MaskInputs(
      batch: shape.batch, queryHeads: shape.queryHeads, tokens: tokens, keyTokens: keyTokens,
      tables: maskTables)
  }

  /// Reads the whole numbers of some masks, or draws them if the input is random, and refuses those
  /// that mean nothing.
  mutating func readMasks(_ choice: PatternChoice, seed: UInt64) throws {
    try requireRoom(for: choice)
    if isRandom {
      maskTables =
        choice.drawnInputs(
          batch: shape.batch, queryHeads: shape.queryHeads, tokens: tokens, keyTokens: keyTokens,
          seed: seed
        ).tables
    }
    for tensor in choice.tensors where tensor.path != nil || !isRandom {
      maskTables[tensor.name] = try read(tensor, for: choice)
    }
    for mask in choice.masks {
      do {
        try mask.check(maskInputs)
      } catch let error as MaskError {
        let path = mask.tensors.first.flatMap { $0.path ?? self.path }
        throw UserError(path.map { "'\($0)': \(error)" } ?? "\(error)")
      }
    }
    for case let windows as ParallelWindowMask in choice.masks where !hasOwnPlaces {
      let positions = windows.positions(maskInputs)
      guard let places = TokenPlaces(queries: positions.queries, keys: positions.keys) else {
        preconditionFailure("no window is longer than 32 bits count")
      }
      self.places = places
    }
  }

  /// Refuses more tokens than masks can number, or than their numbers have room for.
  private func requireRoom(for choice: PatternChoice) throws {
    if choice.tensors.isEmpty { return }
    let tokens = Double(shape.batch) * Double(max(self.tokens, keyTokens))
    guard tokens <= Double(Int32.max) else {
      throw UserError(
        "\(choice) is of at most \(grouped(Int(Int32.max))) tokens of all sequences together; use "
          + "a smaller problem\(isRandom ? " with --random" : "").",
        kind: isRandom ? .usage : .failure)
    }
    // As read, as kept, and in a pattern where neighbours differ.
    try HostMemory.current.require(
      24 * tokens, for: "the numbers of \(choice)",
      remedy: "use a smaller problem" + (isRandom ? " with --random" : ""),
      isOfArguments: isRandom)
  }

  /// Reads a tensor of a mask; nil if it is not there and need not be.
  private func read(_ tensor: MaskTensor, for choice: PatternChoice) throws -> MaskTable? {
    if let path = tensor.path { return try table(IntegerSource.open(path), tensor) }
    guard let file else {
      throw UserError.usage(
        "--\(choice.option(of: tensor)) reads \(tensor.name) \(tensor.dimensions) from a "
          + ".safetensors input, and .npy files have one tensor each; give one input file.")
    }
    guard file.entry(tensor.name) != nil else {
      if tensor.isOptional { return nil }
      throw UserError(
        "'\(file.path)': there is no tensor '\(tensor.name)' in the file, which "
          + "--\(choice.option(of: tensor)) reads; save it there as \(tensor.dimensions) of "
          + "\(tensor.types.map(\.rawValue).joined(separator: " or ")).")
    }
    return try table(file.integers(tensor.name), tensor)
  }

  private func table(_ source: IntegerSource, _ tensor: MaskTensor) throws -> MaskTable {
    guard tensor.types.contains(source.type) else {
      throw UserError(
        "'\(source.path)': \(tensor.name) is \(source.type); save it as "
          + "\(tensor.types.map(\.rawValue).joined(separator: " or ")).")
    }
    let numbers = try source.readAll()
    let narrow = numbers.compactMap { Int32(exactly: $0) }
    guard narrow.count == numbers.count else {
      let place = numbers.firstIndex { Int32(exactly: $0) == nil } ?? 0
      throw UserError(
        "'\(source.path)': \(tensor.name)\(source.shape.index(ofFlat: place)) is "
          + "\(numbers[place]); number from 0 on, up to \(Int32.max).")
    }
    return MaskTable(shape: source.shape.dimensions, numbers: narrow)
  }

  /// What structured prompting adds, for the oracle; nil if it is not asked for.
  func ownKeyWeight(under choice: PatternChoice) -> (any ReferenceScoreRule)? {
    guard choice.masks.contains(where: { $0 as? ParallelWindowMask == .structured }),
      let table = maskTables["key_segment_ids"] ?? maskTables["segment_ids"]
    else { return nil }
    let windows = (0..<shape.batch).map { batch in
      table.numbers[batch * keyTokens..<(batch + 1) * keyTokens].map(Int.init)
    }
    return ReferenceOwnKeyWeight(windows: windows)
  }

  /// Refuses whole numbers that are not the same on all ranks: hosts may see other files under one
  /// path.
  func requireSameMasks(on world: borrowing Communicator) throws {
    guard !maskTables.isEmpty else { return }
    var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    func add(_ number: Int) {
      // FNV-1a, by words.
      digest = (digest ^ UInt64(bitPattern: Int64(number))) &* 0x0000_0100_0000_01B3
    }
    for (_, table) in maskTables.sorted(by: { $0.key < $1.key }) {
      table.shape.forEach(add)
      for number in table.numbers { add(Int(number)) }
    }
    guard let other = try world.lowestDifferingRank("\(digest)") else { return }
    let names = maskTables.keys.sorted().joined(separator: ", ")
    throw AgreedFailure(
      message: world.rank == 0
        ? "gyre: the numbers of the mask (\(names)) are others for rank \(other) than for rank 0; "
          + "give a path under which all hosts see the same file." : nil)
  }
}

extension PatternChoice {
  /// The option of the mask that reads a tensor.
  fileprivate func option(of tensor: MaskTensor) -> String {
    let mask = masks.first { $0.tensors.contains(tensor) }
    if tensor.name == "cu_seqlens" { return "cu-seqlens" }
    return mask.map { type(of: $0).name } ?? ""
  }
}
