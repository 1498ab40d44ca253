import Attention

/// What turns the rows of each layer: as many different ones as the decoder has rotations.
struct LayerPositions {
  private let ofLayers: [RotaryPositions?]

  /// For a sequence that will have `tokens` tokens.
  init(_ decoder: Decoder, _ options: RunOptions, tokens: Int) {
    var known: [Decoder.Rotation: RotaryPositions] = [:]
    ofLayers = decoder.layers.map { layer in
      guard let rotation = options.rotation(layer) else { return nil }
      if let positions = known[rotation] { return positions }
      let positions = rotation.positions(tokens: tokens)
      known[rotation] = positions
      return positions
    }
  }

  subscript(layer: Int) -> RotaryPositions? { ofLayers[layer] }
}
