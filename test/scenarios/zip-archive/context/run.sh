echo ran from the zip
