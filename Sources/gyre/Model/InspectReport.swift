import Models
import Reporting
import SequenceParallel
import Tensors

/// What `gyre inspect` says of a model.
struct InspectReport: Encodable {
  private let model: String
  private let format: String
  private let name: Nullable<String>
  private let architecture: String
  private let parameters: Int
  private let weightBytes: Int
  private let types: [TypeCount]
  private let sizes: Nullable<Sizes>
  private let tokenizer: Nullable<TokenizerFacts>
  private let memory: Nullable<Memory>
  private let tensors: [Tensor]?
  /// Why the model cannot be run, or its texts not be read, in sentences.
  private let obstacles: [String]

  /// Tensors of a type.
  fileprivate struct TypeCount: Encodable {
    let type: String
    let tensors: Int
    let bytes: Int
  }

  /// Without heads where layers carry a state, of `hidden` channels, and have no attention.
  fileprivate struct Sizes: Encodable {
    let layers, width, hidden, experts, expertsOfToken, queryHeads, kvHeads, headDim, vocabulary,
      trainedLength: Int
  }

  fileprivate struct TokenizerFacts: Encodable {
    let kind: String
    let tokens: Int
    let beginning: Nullable<Int>
    let addsBeginning: Bool
    let ends: [Int]
    let chatTemplate: Nullable<String>
  }

  /// Of the rank that needs most, in bytes; `hostBytes` is what this host has.
  fileprivate struct Memory: Encodable {
    let context, ranks, ranksPerHost: Int
    let weightBytes, copiedBytes, cacheBytes, attentionBytes, chunkBytes, ownBytes: Int
    let hostNeeds, hostBytes: Int
    let longestContext: Int
  }

  fileprivate struct Tensor: Encodable {
    let name, type: String
    let shape: [Int]
    let bytes: Int
  }

  /// Reads what there is to say of a model.
  ///
  /// - Parameters:
  ///   - context: tokens of the sequence; nil for as many as the model was trained with.
  ///   - hostBytes: what a host has.
  init(
    _ file: ModelFile, options: RunOptions, context: Int?, ranks: Int, ranksPerHost: Int,
    listsTensors: Bool, hostBytes: Int
  ) {
    let entries = file.tensors
    model = file.path
    format = file.format
    name = Nullable(value: file.name)
    architecture = file.architecture
    parameters = entries.reduce(0) { $0 + $1.shape.elementCount }
    weightBytes = entries.reduce(0) { $0 + $1.byteCount }
    types = Dictionary(grouping: entries, by: \.typeName).map { type, entries in
      TypeCount(
        type: type, tensors: entries.count, bytes: entries.reduce(0) { $0 + $1.byteCount })
    }.sorted { ($0.bytes, $0.type) > ($1.bytes, $1.type) }
    tensors =
      listsTensors
      ? entries.map {
        Tensor(
          name: $0.name, type: $0.typeName, shape: $0.shape.dimensions, bytes: $0.byteCount)
      } : nil

    var obstacles: [String] = []
    do {
      tokenizer = Nullable(value: TokenizerFacts(try file.tokenizer(), of: file))
    } catch {
      obstacles.append("\(error)")
      tokenizer = Nullable(value: nil)
    }
    do {
      let decoder = try Decoder(file)
      sizes = Nullable(value: Sizes(decoder))
      var options = options
      options.piece = options.piece ?? options.boundedPiece(of: decoder, ranks: ranks)
      let needs = MemoryNeeds(
        decoder: decoder, options: options, ranks: ranks, ranksPerHost: ranksPerHost)
      memory = Nullable(
        value: Memory(
          needs, context: context ?? max(1, decoder.sizes.trainedLength), hostBytes: hostBytes))
    } catch {
      obstacles.append("\(error)")
      sizes = Nullable(value: nil)
      memory = Nullable(value: nil)
    }
    self.obstacles = obstacles
  }
}

extension InspectReport.TokenizerFacts {
  fileprivate init(_ tokenizer: Tokenizer, of file: ModelFile) {
    kind = tokenizer.kind
    tokens = tokenizer.count
    beginning = Nullable(value: tokenizer.beginning)
    addsBeginning = tokenizer.addsBeginning
    ends = tokenizer.ends.sorted()
    let template =
      switch try? file.chatTemplate(of: tokenizer) {
      case .chatML?: "ChatML"
      case .gemma?: "Gemma"
      case nil: tokenizer.chatTemplateText == nil ? nil : "not known here"
      }
    chatTemplate = Nullable(value: template)
  }
}

extension InspectReport.Sizes {
  fileprivate init(_ decoder: Decoder) {
    let sizes = decoder.sizes
    layers = decoder.layerCount
    (width, hidden, vocabulary) = (sizes.width, sizes.hidden, sizes.vocabulary)
    (experts, expertsOfToken) = (sizes.experts, sizes.expertsOfToken)
    let hasHeads = !decoder.carriesState
    (queryHeads, kvHeads, headDim) =
      hasHeads ? (sizes.queryHeads, sizes.kvHeads, sizes.headDim) : (0, 0, 0)
    trainedLength = sizes.trainedLength
  }
}

extension InspectReport.Memory {
  fileprivate init(_ needs: MemoryNeeds, context: Int, hostBytes: Int) {
    let most = needs.largest(context: context)
    self.context = context
    ranks = needs.ranks
    ranksPerHost = needs.ranksPerHost
    weightBytes = most.weights
    (cacheBytes, attentionBytes, chunkBytes) = (most.cache, most.attention, most.chunk)
    copiedBytes = most.copies
    ownBytes = most.ownBytes
    hostNeeds = needs.hostBytes(context: context)
    self.hostBytes = hostBytes
    longestContext = needs.longestContext(within: hostBytes)
  }
}

extension InspectReport {
  /// For people.
  var text: String {
    var rows: [(String, String)] = [
      ("model", model), ("format", format),
    ]
    if let name = name.value { rows.append(("name", name)) }
    rows.append(("architecture", architecture))
    let words = types.map { "\($0.type) \(formatBytes(Double($0.bytes)))" }
    rows.append(
      (
        "weights",
        "\(grouped(parameters)) numbers in \(formatBytes(Double(weightBytes))): "
          + words.joined(separator: ", ")
      ))
    if let sizes = sizes.value {
      rows.append(
        (
          "layers",
          "\(sizes.layers) of width \(sizes.width), "
            + (sizes.queryHeads == 0
              ? "with states of \(counted(sizes.hidden, "channel"))"
              : "feed-forward \(sizes.hidden)\(Self.words(sizes)), "
                + "\(counted(sizes.queryHeads, "query head")), "
                + "\(counted(sizes.kvHeads, "KV head")), head dim \(sizes.headDim)")
        ))
      rows.append(("trained with", counted(sizes.trainedLength, "token")))
    }
    if let tokenizer = tokenizer.value { rows.append(("tokenizer", Self.words(tokenizer))) }
    if let memory = memory.value {
      rows += Self.words(memory, hasHeads: sizes.value?.queryHeads != 0)
    }
    var lines = [table(rows.map { [$0.0, $0.1] }, names: [0, 1])]
    if let tensors {
      lines.append(
        table(
          [["tensor", "type", "shape", "bytes"]]
            + tensors.map { [$0.name, $0.type, "\($0.shape)", grouped($0.bytes)] },
          names: [0, 1, 2]))
    }
    return (lines + obstacles).joined(separator: "\n\n")
  }

  private static func words(_ sizes: Sizes) -> String {
    sizes.experts == 0
      ? ""
      : " in \(sizes.expertsOfToken) of \(counted(sizes.experts, "expert"))"
  }

  private static func words(_ tokenizer: TokenizerFacts) -> String {
    let ends = tokenizer.ends.map(String.init).joined(separator: ", ")
    let beginning = tokenizer.beginning.value.flatMap { tokenizer.addsBeginning ? $0 : nil }
    return "\(tokenizer.kind); \(grouped(tokenizer.tokens)) tokens; "
      + (beginning.map { "begins with \($0); " } ?? "")
      + (ends.isEmpty ? "no end" : "ends with \(ends)")
      + "; chat template: \(tokenizer.chatTemplate.value ?? "none")"
  }

  private static func words(_ memory: Memory, hasHeads: Bool) -> [(String, String)] {
    func bytes(_ count: Int) -> String { formatBytes(Double(count)) }
    return [
      (
        "memory",
        "\(counted(memory.ranks, "rank")), \(counted(memory.context, "token")): a host's weights "
          + "\(bytes(memory.weightBytes)); a rank's own \(bytes(memory.ownBytes)), of which "
          + "\(hasHeads ? "keys and values" : "states") \(bytes(memory.cacheBytes)), "
          + "\(hasHeads ? "attention" : "rows") \(bytes(memory.attentionBytes)), a "
          + "chunk \(bytes(memory.chunkBytes))"
          + (memory.copiedBytes == 0
            ? "" : ", weights that are copied \(bytes(memory.copiedBytes))")
      ),
      (
        "fits here",
        (memory.hostNeeds <= memory.hostBytes ? "yes" : "no")
          + ": \(counted(memory.ranksPerHost, "rank")) of a host need "
          + "\(bytes(memory.hostNeeds)) of \(bytes(memory.hostBytes)); the longest context that "
          + "fits is \(counted(memory.longestContext, "token"))"
      ),
    ]
  }
}
