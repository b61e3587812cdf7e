"""python results/photos/make_photos.py CIFAR10_TRAIN_ZIP PHOTOS: a folder like a user's, of CIFAR-10 images of three classes.

700 images a class (200 of the third, so that they are unbalanced), enlarged and cut to unequal sizes, many of them
stored turned with the EXIF orientation that says so, in folders with blanks, umlauts and brackets, beside files that are
no images. Drawn from seed 0; nothing was tuned to them.
"""

import io
import random
import sys
import zipfile
from pathlib import Path

from PIL import Image

CLASSES = {"airplane": ("Flugzeuge (groß)", 700), "cat": ("Katzen, süß", 700), "ship": ("Schiffe = Boote", 200)}
TURNED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""EXIF orientation -> how the stored image is turned against the upright one."""


def photo(image: Image.Image, chance: random.Random) -> tuple[Image.Image, int]:
    """The image enlarged 3 to 6 times with up to an eighth cut off each side, stored turned; and its orientation."""
    left, top, right, bottom = (chance.randint(0, 4) for _ in range(4))
    cut = image.crop((left, top, 32 - right, 32 - bottom))
    scale = chance.uniform(3, 6)
    cut = cut.resize((round(cut.width * scale), round(cut.height * scale)), Image.Resampling.BICUBIC)
    orientation = chance.choice((1, 1, 1, 1, 3, 6, 8))
    turn = TURNED[orientation]
    return (cut if turn is None else cut.transpose(turn)), orientation


def main(source: str, target: str) -> None:
    chance = random.Random(0)
    with zipfile.ZipFile(source) as archive:
        names = sorted(archive.namelist())
        for kind, (folder, count) in CLASSES.items():
            place = Path(target) / folder
            place.mkdir(parents=True)
            own = [name for name in names if f"/{kind}/" in f"/{name}" and not name.endswith("/")]
            for number, name in enumerate(chance.sample(own, count)):
                image, orientation = photo(Image.open(io.BytesIO(archive.read(name))).convert("RGB"), chance)
                exif = Image.Exif()
                exif[0x0112] = orientation
                image.save(
                    place / f"IMG {number:04}.{chance.choice(('jpg', 'JPEG', 'jpg'))}", "JPEG", quality=90, exif=exif
                )
            (place / "Thumbs.db").write_bytes(b"no image")
    (Path(target) / "Notizen.txt").write_text("keine Bilder\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
