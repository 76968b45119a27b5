"""Optimisers and which weights get which learning rate."""

from __future__ import annotations

from torch import nn, optim


def freeze(net: nn.Module, *, encoder: bool, norms: bool) -> None:
    """Put a net into training mode with some parts at rest.

    A frozen encoder also keeps its batch statistics: they would drift away from the weights.

    Args:
        net: From ``build_net``.
        encoder: Whether the encoder keeps its weights.
        norms: Whether batch normalisation keeps its statistics.

    Raises:
        ValueError: If the net has no encoder to be frozen.
    """
    net.train()
    for parameter in net.parameters():
        parameter.requires_grad_(True)
    if encoder:
        part = encoder_of(net)
        if part is None:
            raise ValueError('frozen: encoder, but this net has no encoder; use frozen: none')
        part.eval()
        for parameter in part.parameters():
            parameter.requires_grad_(False)
    if norms:
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def encoder_of(net: nn.Module) -> nn.Module | None:
    """The encoder of a net from ``build_net``, where it has one."""
    inner = getattr(net, 'net', net)
    encoder = getattr(inner, 'encoder', None)
    return encoder if isinstance(encoder, nn.Module) else None


def build_optimizer(
    net: nn.Module,
    *,
    name: str,
    learning_rate: float,
    weight_decay: float,
    decay_norms: bool,
    momentum: float,
    encoder_factor: float,
) -> optim.Optimizer:
    """Build the optimiser of a stage over the weights that are not frozen.

    Each group carries ``factor``: its learning rate relative to that of the schedule.

    Args:
        net: After ``freeze``.
        name: One of ``config.OPTIMIZERS``.
        learning_rate: Peak rate.
        weight_decay: Of weights; that of biases and norms is zero unless ``decay_norms``.
        decay_norms: See ``weight_decay``.
        momentum: Momentum, or beta1 of Adam.
        encoder_factor: Learning rate of the encoder relative to the rest.

    Raises:
        ValueError: If every weight is frozen.
    """
    encoder = encoder_of(net)
    inside = {id(p) for p in encoder.parameters()} if encoder is not None else set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in net.parameters():
        if parameter.requires_grad:
            factor = encoder_factor if id(parameter) in inside else 1.0
            decay = weight_decay if decay_norms or parameter.ndim > 1 else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    if not groups:
        raise ValueError('every weight is frozen; there is nothing to train')
    params = [
        {
            'params': members,
            'factor': factor,
            'weight_decay': decay,
            'lr': learning_rate * factor,
        }
        for (factor, decay), members in groups.items()
    ]
    if name == 'sgd':
        return optim.SGD(params, lr=learning_rate, momentum=momentum)
    if name == 'rmsprop':
        return optim.RMSprop(params, lr=learning_rate, momentum=momentum)
    cls = optim.AdamW if name == 'adamw' else optim.Adam
    return cls(params, lr=learning_rate, betas=(momentum, 0.999))


def set_rate(optimizer: optim.Optimizer, learning_rate: float, momentum: float) -> None:
    """Set rate and momentum of the next step."""
    for group in optimizer.param_groups:
        group['lr'] = learning_rate * group['factor']
        if 'betas' in group:
            group['betas'] = (momentum, group['betas'][1])
        elif 'momentum' in group:
            group['momentum'] = momentum
