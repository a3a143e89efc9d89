"""The street-view network (systems S2) written down in PyTorch, independently of this package."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.networks.vae import VAENetwork

SIDE, COUNTRIES, WEIGHTS = 128, 84, 14_186_531


class PlainVAE(nn.Module):
    """The street-view network as one would write it down; modules in the order of StreetViewVAE's."""

    def __init__(self) -> None:
        """Build it at 128x128 with 84 countries."""
        super().__init__()
        self.label = nn.Linear(COUNTRIES, 256)
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128), (128, 256)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        self.encoder = nn.Sequential(*layers)
        self.hidden = nn.Linear(256 * 8 * 8 + 256, 256)
        self.mu = nn.Linear(256, 256)
        self.logvar = nn.Linear(256, 256)
        self.expand = nn.Linear(512, 256 * 8 * 8)
        layers = []
        for inputs, outputs, stride in ((256, 256, 1), (256, 128, 2), (128, 64, 2), (64, 32, 2)):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 3, stride, 1, stride - 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.LeakyReLU(0.2),
            ]
        self.decoder = nn.Sequential(*layers, nn.ConvTranspose2d(32, 3, 3, 2, 1, 1))

    def forward(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return reconstruction, z, mu and logvar of (N, 3, 128, 128) images and (N, 84) conditions."""
        label = F.leaky_relu(self.label(condition), 0.2)
        h = F.relu(self.hidden(torch.cat([self.encoder(image).flatten(1), label], 1)))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        h = F.leaky_relu(self.expand(torch.cat([z, label], 1)), 0.2)
        return torch.sigmoid(self.decoder(h.view(-1, 256, 8, 8))), z, mu, logvar


def written_down(reference: VAENetwork) -> PlainVAE:
    """Return the plain network with the weights of a StreetViewVAE, checked to compute the same."""
    assert sum(weights.numel() for weights in reference.parameters()) == WEIGHTS
    plain = PlainVAE()
    state = reference.state_dict().values()
    plain.load_state_dict(dict(zip(plain.state_dict(), state, strict=True)))
    image, vector = torch.rand(2, 3, SIDE, SIDE), torch.eye(COUNTRIES)[:2]
    with torch.no_grad():
        torch.manual_seed(1)
        ours = reference.eval()(image, vector)
        torch.manual_seed(1)
        theirs = plain.eval()(image, vector)
    reference.train()
    plain.train()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    return plain
